SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE SCHEMA datastore;
CREATE FUNCTION datastore.counted_deleted() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN
	UPDATE datastore.counters AS held SET held_bytes = held_bytes - gone.bytes, held_keys = held_keys - gone.keys
	FROM (SELECT owner, sum(size_bytes) AS bytes, count(*) AS keys FROM removed GROUP BY owner) AS gone
	WHERE held.owner = gone.owner AND held.namespace = '';
	UPDATE datastore.counters AS held SET held_bytes = held_bytes - gone.bytes, held_keys = held_keys - gone.keys
	FROM (SELECT owner, namespace, sum(size_bytes) AS bytes, count(*) AS keys FROM removed GROUP BY 1, 2) AS gone
	WHERE held.owner = gone.owner AND held.namespace = gone.namespace;
	DELETE FROM datastore.counters
	WHERE owner IN (SELECT owner FROM removed) AND namespace <> '' AND held_keys <= 0;
	RETURN NULL;
END $$;
CREATE FUNCTION datastore.counted_inserted() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN
	INSERT INTO datastore.counters (owner, namespace, held_bytes, held_keys)
	SELECT new.owner, names.name, new.size_bytes, 1
	FROM datastore.counters AS whole, (SELECT '' AS name UNION ALL SELECT new.namespace) AS names
	WHERE whole.owner = new.owner AND whole.namespace = ''
	ON CONFLICT (owner, namespace) DO UPDATE SET
	held_bytes = counters.held_bytes + excluded.held_bytes, held_keys = counters.held_keys + 1;
	RETURN NULL;
END $$;
CREATE FUNCTION datastore.counted_updated() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN
	UPDATE datastore.counters SET held_bytes = held_bytes + new.size_bytes - old.size_bytes
	WHERE owner = new.owner AND namespace IN ('', new.namespace);
	RETURN NULL;
END $$;
CREATE FUNCTION datastore.entries_deleted() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN
	PERFORM pg_advisory_xact_lock(1094996786);
	INSERT INTO datastore.changes (at, owner, namespace, key, version)
	VALUES ((extract(epoch FROM clock_timestamp()) * 1000)::bigint, old.owner, old.namespace, old.key, NULL);
	RETURN NULL;
END $$;
CREATE FUNCTION datastore.entries_inserted() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN
	PERFORM pg_advisory_xact_lock(1094996786);
	INSERT INTO datastore.changes (at, owner, namespace, key, version)
	VALUES ((extract(epoch FROM clock_timestamp()) * 1000)::bigint, new.owner, new.namespace, new.key, new.version);
	RETURN NULL;
END $$;
CREATE FUNCTION datastore.entries_updated() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN
	PERFORM pg_advisory_xact_lock(1094996786);
	INSERT INTO datastore.changes (at, owner, namespace, key, version)
	VALUES ((extract(epoch FROM clock_timestamp()) * 1000)::bigint, new.owner, new.namespace, new.key, new.version);
	RETURN NULL;
END $$;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE datastore.audit (
    id text NOT NULL COLLATE pg_catalog."C",
    at bigint NOT NULL,
    by_user text COLLATE pg_catalog."C",
    by_agent text COLLATE pg_catalog."C",
    by_run text,
    operation text,
    owner text,
    namespace text,
    key text COLLATE pg_catalog."C",
    size_bytes bigint,
    version text,
    number bigint,
    outcome text,
    salt text,
    content text NOT NULL,
    link text NOT NULL
);
CREATE TABLE datastore.change_horizons (
    owner text NOT NULL COLLATE pg_catalog."C",
    seq bigint NOT NULL
);
CREATE TABLE datastore.changes (
    seq bigint NOT NULL,
    at bigint NOT NULL,
    owner text NOT NULL COLLATE pg_catalog."C",
    namespace text NOT NULL COLLATE pg_catalog."C",
    key text NOT NULL COLLATE pg_catalog."C",
    version text
);
CREATE SEQUENCE datastore.changes_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE datastore.changes_seq_seq OWNED BY datastore.changes.seq;
CREATE TABLE datastore.counters (
    owner text NOT NULL COLLATE pg_catalog."C",
    namespace text NOT NULL COLLATE pg_catalog."C",
    held_bytes bigint NOT NULL,
    held_keys bigint NOT NULL
);
CREATE TABLE datastore.entries (
    id text NOT NULL COLLATE pg_catalog."C",
    owner text NOT NULL COLLATE pg_catalog."C",
    namespace text NOT NULL COLLATE pg_catalog."C",
    key text NOT NULL COLLATE pg_catalog."C",
    expires_at bigint NOT NULL,
    version text NOT NULL,
    size_bytes bigint NOT NULL,
    created_at bigint NOT NULL,
    created_by_agent text NOT NULL,
    created_by_run text NOT NULL,
    created_by_user text,
    updated_at bigint NOT NULL,
    updated_by_agent text NOT NULL,
    updated_by_run text NOT NULL,
    updated_by_user text,
    access_count bigint NOT NULL,
    last_accessed_at bigint,
    last_accessed_by_agent text,
    metadata text NOT NULL,
    value text,
    value_bytes bytea
);
COMMENT ON TABLE datastore.entries IS 'agent-data-store, layout 2';
ALTER TABLE ONLY datastore.changes ALTER COLUMN seq SET DEFAULT nextval('datastore.changes_seq_seq'::regclass);
INSERT INTO datastore.audit VALUES ('vm-d1413b697f87:000000000000001', 1796064162394, 'bob', 'writer', 'run-6', 'put', 'bob', 'default', 'counted', 102, '2e8568dce44fd84a5a1e05bf', NULL, 'done', '2ac442d11d6303ae607fcc872160461f', '11f97b2a3cf23e8ca0eaf14b52f31cb953dd1c93cf7a4a90ed5c9d126b9978c0', 'ab3b7b782482f7d8a9553815c722b6fb2c6c9fbe0377964923f93d65b0ced760');
INSERT INTO datastore.audit VALUES ('vm-d1413b697f87:000000000000002', 1796064162401, 'bob', 'writer', 'run-6', 'get', 'bob', 'default', 'counted', 102, '2e8568dce44fd84a5a1e05bf', NULL, 'done', 'e9aa5e48677e9c1067dede0c5eb42374', '21e20fec5d1db2e9d81b5334e4558074f27bc8c3369268249f5cf86bd6576b23', '91b9fb22d899b20cf1e64ee972cd1b01ee6336c95f06e368cf8012fbb5042699');
INSERT INTO datastore.change_horizons VALUES ('@@erased/283bb9deef02e6843abfb538efa1eca70801bd8a701c3f98191e123496339247', 55);
INSERT INTO datastore.changes VALUES (1, 1796064147496, 'alice', 'default', 'text', '0dd062fda75bcbc5287fd852');
INSERT INTO datastore.changes VALUES (2, 1796064147499, 'alice', 'default', 'empty', '2bafa4e909eb9164a10d632f');
INSERT INTO datastore.changes VALUES (3, 1796064147502, 'alice', 'default', 'null', '32d2126bcefe59635e9efb32');
INSERT INTO datastore.changes VALUES (4, 1796064147507, 'alice', 'default', 'true', '9b8eadf3597cd4c3d5c221af');
INSERT INTO datastore.changes VALUES (5, 1796064147515, 'alice', 'default', 'zero', '083abf55c9a53afe9892619d');
INSERT INTO datastore.changes VALUES (6, 1796064147522, 'alice', 'default', 'least', '0e00525ac38144399d2b20cb');
INSERT INTO datastore.changes VALUES (7, 1796064147527, 'alice', 'default', 'most', '14b765a153e335792b53c2ba');
INSERT INTO datastore.changes VALUES (8, 1796064147535, 'alice', 'default', 'float', '36f755f25b5d66bcd15d9f51');
INSERT INTO datastore.changes VALUES (9, 1796064147538, 'alice', 'default', 'huge', '2203e969b176908327da36b0');
INSERT INTO datastore.changes VALUES (10, 1796064147546, 'alice', 'default', 'whole float', 'f2e4bb62d6ceca5f645ec8ca');
INSERT INTO datastore.changes VALUES (11, 1796064147550, 'alice', 'default', 'list', '2f52ffa6e49235b2dedee333');
INSERT INTO datastore.changes VALUES (12, 1796064147555, 'alice', 'default', 'object', 'b5acc72bf179c4f14536c4cf');
INSERT INTO datastore.changes VALUES (13, 1796064147563, 'alice', 'default', 'field names', '189faefad318f5c0c9827a6c');
INSERT INTO datastore.changes VALUES (14, 1796064147568, 'alice', 'default', 'bytes', 'b74de19ec69ef4d6cd83f11a');
INSERT INTO datastore.changes VALUES (15, 1796064147580, 'alice', 'default', 'no bytes', 'e45d8f6795343b2588d76419');
INSERT INTO datastore.changes VALUES (16, 1796064147583, 'alice', 'default', 'ключ/%:key ', '5450fcc9a9f9365191770afa');
INSERT INTO datastore.changes VALUES (17, 1796064147608, 'alice', 'default', 'described', '8dd1102db295ea85752eba13');
INSERT INTO datastore.changes VALUES (18, 1796064147632, 'alice', 'default', 'described', '3359cb9cb3a62b1c46ca06ea');
INSERT INTO datastore.changes VALUES (19, 1796064147650, 'alice', 'default', 'lasting', '25dcc27f444c0710707be565');
INSERT INTO datastore.changes VALUES (20, 1796064147655, 'alice', 'default', 'gone', '8b312fbe545b8fd65afec3bd');
INSERT INTO datastore.changes VALUES (21, 1796064147661, 'alice', 'default', 'deleted', '83ddd96051b2035699099b06');
INSERT INTO datastore.changes VALUES (22, 1796064147674, 'alice', 'default', 'deleted', NULL);
INSERT INTO datastore.changes VALUES (23, 1796064147692, 'alice', 'default', 'added', '57a6682c829add76e4d9a7e2');
INSERT INTO datastore.changes VALUES (24, 1796064147700, 'alice', 'files:apache/my-repo', 'README.md', '26b69680469e7ca53eb1beb4');
INSERT INTO datastore.changes VALUES (25, 1796064147700, 'alice', 'files:apache/my-repo', 'src/app.py', '579fa28c22328a2a625a05b6');
INSERT INTO datastore.changes VALUES (26, 1796064147738, 'alice', 'backup', 'README.md', 'f86f6e960af5e6f6fea3b20b');
INSERT INTO datastore.changes VALUES (27, 1796064147738, 'alice', 'backup', 'src/app.py', '1df2b2017ba7cc96156a456f');
INSERT INTO datastore.changes VALUES (28, 1796064147743, 'alice', '@agent/writer', 'note', '6a3f58d3b0a2d7c06973c15d');
INSERT INTO datastore.changes VALUES (29, 1796064147751, 'alice', '@agent/writer/plans', 'note', 'e9a926b10bd59542b2377ba4');
INSERT INTO datastore.changes VALUES (30, 1796064147873, 'bob', 'default', 'text', '19078881b3940dc3575efd12');
INSERT INTO datastore.changes VALUES (31, 1796064147881, 'bob', 'files:apache/my-repo', 'src/app.py', 'a243dbb02d7f685649fc63c7');
INSERT INTO datastore.changes VALUES (32, 1796064147992, 'tenant:7%', 'default', 'text', '34a93319261dacda1f86b157');
INSERT INTO datastore.changes VALUES (33, 1796064148001, 'tenant:7%', 'files:apache/my-repo', 'src/app.py', '348319eb038aac7611cd32c0');
INSERT INTO datastore.changes VALUES (34, 1796064148078, 'alice', 'default', 'object', 'e364e4af71dc8fbaefb54eb6');
INSERT INTO datastore.changes VALUES (35, 1796064148151, 'alice', 'default', 'count', '850d628d50cc45e9a302e8c6');
INSERT INTO datastore.changes VALUES (36, 1796064148160, 'alice', 'default', 'ratio', 'e7f4e6c248b11054d493927e');
INSERT INTO datastore.changes VALUES (37, 1796064148171, 'alice', 'default', 'described', '2814f330d201ca45969530a7');
INSERT INTO datastore.changes VALUES (38, 1796064148188, 'alice', 'default', 'added', NULL);
INSERT INTO datastore.changes VALUES (39, 1796064148188, 'alice', 'default', 'together', 'b1a4643adf4730288f03900e');
INSERT INTO datastore.changes VALUES (40, 1796064148196, 'alice', '@locks/default', 'lease:door', '79d9f7ab780e7856c4ef3353');
INSERT INTO datastore.changes VALUES (41, 1796064148199, 'alice', '@locks/default', 'token:door', 'e074a6a2ddef089301660f50');
INSERT INTO datastore.changes VALUES (42, 1796064148204, 'alice', '@locks/default', 'lease:door', '162cd4553e148d3e306988dd');
INSERT INTO datastore.changes VALUES (43, 1796064148212, 'alice', 'default', 'guarded', 'd342207b0b9ce360684523e3');
INSERT INTO datastore.changes VALUES (44, 1796064148214, 'alice', '@locks/default', 'lease:door', NULL);
INSERT INTO datastore.changes VALUES (45, 1796064148219, '@@datastore', 'keys', 'cursors', 'c2b47e029aaf82d21b5dfbb6');
INSERT INTO datastore.changes VALUES (46, 1796064148410, '@team', 'default', 'latest', 'c9402864c917bd2ef11e6a34');
INSERT INTO datastore.changes VALUES (47, 1796064148416, '@team', 'default', 'first of alice', '2b9aa9e24392d8cbf4a4e314');
INSERT INTO datastore.changes VALUES (48, 1796064148498, '@team', 'default', 'latest', 'bc119f8f17754982dd3678f4');
INSERT INTO datastore.changes VALUES (49, 1796064148501, '@team', 'default', 'first of bob', '46a69eb63fa2292cfe90a157');
INSERT INTO datastore.changes VALUES (50, 1796064148638, '@@datastore', 'quotas', '86694565287b372e01bcdba8647e7b030f5ef09b4d350b79795e96e52c7bd617', '78b2b53f8fda6ed8a3c4a681');
INSERT INTO datastore.changes VALUES (51, 1796064148644, '@@datastore', 'quotas', '@@changed', '2716a6bf9defa41425255c97');
INSERT INTO datastore.changes VALUES (52, 1796064148786, '@@datastore', 'blocked', 'c917d0b10cac0ff815ddd85241e5f1c8864a3730fb130ee0527995ec110ae0bd', '0d3b4dbaf0ea94bd069fd650');
INSERT INTO datastore.changes VALUES (54, 1796064149219, '@@datastore', 'blocked', 'bbbd57d3a1dd775d2278971a9cfc66b3ea36e74ab0febbfe86c710451cd8c960', 'd997def250fd82090e42aeee');
INSERT INTO datastore.changes VALUES (55, 1796064149237, '', '', '', NULL);
INSERT INTO datastore.changes VALUES (56, 1796064162290, '@@datastore', 'receipts', 'b650159c927df53c948f0969', 'fb3a59253b6aaf8657057309');
INSERT INTO datastore.changes VALUES (57, 1796064162294, '@@datastore', 'blocked', 'bbbd57d3a1dd775d2278971a9cfc66b3ea36e74ab0febbfe86c710451cd8c960', '9a771e748d62af9bf52517d0');
INSERT INTO datastore.changes VALUES (58, 1796064162394, 'bob', 'default', 'counted', '2e8568dce44fd84a5a1e05bf');
INSERT INTO datastore.counters VALUES ('bob', 'files:apache/my-repo', 14, 1);
INSERT INTO datastore.counters VALUES ('bob', '', 124, 3);
INSERT INTO datastore.counters VALUES ('bob', 'default', 110, 2);
INSERT INTO datastore.entries VALUES ('alice:default:bGFzdGluZw==', 'alice', 'default', 'lasting', 2079888147648, '25dcc27f444c0710707be565', 11, 1796064147648, 'writer', 'run-1', NULL, 1796064147648, 'writer', 'run-1', NULL, 0, NULL, NULL, '{}', '"for years"', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:Z29uZQ==', 'alice', 'default', 'gone', 1796064148653, '8b312fbe545b8fd65afec3bd', 13, 1796064147653, 'writer', 'run-1', NULL, 1796064147653, 'writer', 'run-1', NULL, 0, NULL, NULL, '{}', '"in a second"', NULL);
INSERT INTO datastore.entries VALUES ('alice:files:apache/my-repo:UkVBRE1FLm1k', 'alice', 'files:apache/my-repo', 'README.md', 253402214400000, '26b69680469e7ca53eb1beb4', 6, 1796064147697, 'writer', 'run-1', NULL, 1796064147697, 'writer', 'run-1', NULL, 0, NULL, NULL, '{}', '"# Hi"', NULL);
INSERT INTO datastore.entries VALUES ('alice:files:apache/my-repo:c3JjL2FwcC5weQ==', 'alice', 'files:apache/my-repo', 'src/app.py', 253402214400000, '579fa28c22328a2a625a05b6', 10, 1796064147697, 'writer', 'run-1', NULL, 1796064147697, 'writer', 'run-1', NULL, 0, NULL, NULL, '{}', '"print(1)"', NULL);
INSERT INTO datastore.entries VALUES ('alice:backup:UkVBRE1FLm1k', 'alice', 'backup', 'README.md', 253402214400000, 'f86f6e960af5e6f6fea3b20b', 6, 1796064147709, 'writer', 'run-1', NULL, 1796064147709, 'writer', 'run-1', NULL, 0, NULL, NULL, '{}', '"# Hi"', NULL);
INSERT INTO datastore.entries VALUES ('alice:backup:c3JjL2FwcC5weQ==', 'alice', 'backup', 'src/app.py', 253402214400000, '1df2b2017ba7cc96156a456f', 10, 1796064147709, 'writer', 'run-1', NULL, 1796064147709, 'writer', 'run-1', NULL, 0, NULL, NULL, '{}', '"print(1)"', NULL);
INSERT INTO datastore.entries VALUES ('alice:@agent/writer:bm90ZQ==', 'alice', '@agent/writer', 'note', 253402214400000, '6a3f58d3b0a2d7c06973c15d', 15, 1796064147741, 'writer', 'run-1', NULL, 1796064147741, 'writer', 'run-1', NULL, 0, NULL, NULL, '{}', '"of the writer"', NULL);
INSERT INTO datastore.entries VALUES ('alice:@agent/writer/plans:bm90ZQ==', 'alice', '@agent/writer/plans', 'note', 253402214400000, 'e9a926b10bd59542b2377ba4', 20, 1796064147749, 'writer', 'run-1', NULL, 1796064147749, 'writer', 'run-1', NULL, 0, NULL, NULL, '{}', '"of the writer, too"', NULL);
INSERT INTO datastore.entries VALUES ('bob:default:dGV4dA==', 'bob', 'default', 'text', 253402214400000, '19078881b3940dc3575efd12', 8, 1796064147857, 'writer', 'run-2', NULL, 1796064147857, 'writer', 'run-2', NULL, 0, NULL, NULL, '{}', '"of bob"', NULL);
INSERT INTO datastore.entries VALUES ('bob:files:apache/my-repo:c3JjL2FwcC5weQ==', 'bob', 'files:apache/my-repo', 'src/app.py', 253402214400000, 'a243dbb02d7f685649fc63c7', 14, 1796064147878, 'writer', 'run-2', NULL, 1796064147878, 'writer', 'run-2', NULL, 0, NULL, NULL, '{}', '"print(''bob'')"', NULL);
INSERT INTO datastore.entries VALUES ('tenant%3A7%25:default:dGV4dA==', 'tenant:7%', 'default', 'text', 253402214400000, '34a93319261dacda1f86b157', 14, 1796064147964, 'writer', 'run-2', NULL, 1796064147964, 'writer', 'run-2', NULL, 0, NULL, NULL, '{}', '"of tenant:7%"', NULL);
INSERT INTO datastore.entries VALUES ('tenant%3A7%25:files:apache/my-repo:c3JjL2FwcC5weQ==', 'tenant:7%', 'files:apache/my-repo', 'src/app.py', 253402214400000, '348319eb038aac7611cd32c0', 20, 1796064147998, 'writer', 'run-2', NULL, 1796064147998, 'writer', 'run-2', NULL, 0, NULL, NULL, '{}', '"print(''tenant:7%'')"', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:Ynl0ZXM=', 'alice', 'default', 'bytes', 253402214400000, 'b74de19ec69ef4d6cd83f11a', 256, 1796064147566, 'writer', 'run-1', NULL, 1796064147566, 'writer', 'run-1', NULL, 1, 1796064148063, 'reader', '{}', NULL, '\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff');
INSERT INTO datastore.entries VALUES ('alice:default:ZW1wdHk=', 'alice', 'default', 'empty', 253402214400000, '2bafa4e909eb9164a10d632f', 2, 1796064147497, 'writer', 'run-1', NULL, 1796064147497, 'writer', 'run-1', NULL, 1, 1796064148063, 'reader', '{}', '""', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:ZmllbGQgbmFtZXM=', 'alice', 'default', 'field names', 253402214400000, '189faefad318f5c0c9827a6c', 42, 1796064147561, 'writer', 'run-1', NULL, 1796064147561, 'writer', 'run-1', NULL, 1, 1796064148063, 'reader', '{}', '{"":1,"a.b":2,"$set":3,"$ref":"c","$id":4}', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:ZmxvYXQ=', 'alice', 'default', 'float', 253402214400000, '36f755f25b5d66bcd15d9f51', 24, 1796064147533, 'writer', 'run-1', NULL, 1796064147533, 'writer', 'run-1', NULL, 1, 1796064148063, 'reader', '{}', '0.1', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:ZGVzY3JpYmVk', 'alice', 'default', 'described', 253402214400000, '2814f330d201ca45969530a7', 24, 1796064147593, 'writer', 'run-1', NULL, 1796064148166, 'writer', 'run-4', NULL, 1, 1796064148166, 'writer', '{"source":"crm","tags":{"a.b":["$x"],"":null},"more":true}', '3', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:aHVnZQ==', 'alice', 'default', 'huge', 253402214400000, '2203e969b176908327da36b0', 24, 1796064147537, 'writer', 'run-1', NULL, 1796064147537, 'writer', 'run-1', NULL, 1, 1796064148063, 'reader', '{}', '1e+308', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:bGVhc3Q=', 'alice', 'default', 'least', 253402214400000, '0e00525ac38144399d2b20cb', 24, 1796064147517, 'writer', 'run-1', NULL, 1796064147517, 'writer', 'run-1', NULL, 1, 1796064148063, 'reader', '{}', '-9223372036854775808', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:bGlzdA==', 'alice', 'default', 'list', 253402214400000, '2f52ffa6e49235b2dedee333', 21, 1796064147549, 'writer', 'run-1', NULL, 1796064147549, 'writer', 'run-1', NULL, 1, 1796064148063, 'reader', '{}', '[1,[2,[null,"x"]],{}]', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:bW9zdA==', 'alice', 'default', 'most', 253402214400000, '14b765a153e335792b53c2ba', 24, 1796064147525, 'writer', 'run-1', NULL, 1796064147525, 'writer', 'run-1', NULL, 1, 1796064148063, 'reader', '{}', '9223372036854775807', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:bm8gYnl0ZXM=', 'alice', 'default', 'no bytes', 253402214400000, 'e45d8f6795343b2588d76419', 0, 1796064147578, 'writer', 'run-1', NULL, 1796064147578, 'writer', 'run-1', NULL, 1, 1796064148063, 'reader', '{}', NULL, '\x');
INSERT INTO datastore.entries VALUES ('alice:default:bnVsbA==', 'alice', 'default', 'null', 253402214400000, '32d2126bcefe59635e9efb32', 4, 1796064147501, 'writer', 'run-1', NULL, 1796064147501, 'writer', 'run-1', NULL, 1, 1796064148063, 'reader', '{}', 'null', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:b2JqZWN0', 'alice', 'default', 'object', 253402214400000, 'e364e4af71dc8fbaefb54eb6', 16, 1796064147553, 'writer', 'run-1', NULL, 1796064148073, 'reader', 'run-3', NULL, 1, 1796064148063, 'reader', '{}', '{"changed":true}', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:dGV4dA==', 'alice', 'default', 'text', 253402214400000, '0dd062fda75bcbc5287fd852', 37, 1796064147469, 'writer', 'run-1', NULL, 1796064147469, 'writer', 'run-1', NULL, 2, 1796064148069, 'reader', '{}', '"näïve 😀 \\ \"quoted\" \n tab\t"', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:dHJ1ZQ==', 'alice', 'default', 'true', 253402214400000, '9b8eadf3597cd4c3d5c221af', 4, 1796064147505, 'writer', 'run-1', NULL, 1796064147505, 'writer', 'run-1', NULL, 1, 1796064148063, 'reader', '{}', 'true', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:d2hvbGUgZmxvYXQ=', 'alice', 'default', 'whole float', 253402214400000, 'f2e4bb62d6ceca5f645ec8ca', 24, 1796064147545, 'writer', 'run-1', NULL, 1796064147545, 'writer', 'run-1', NULL, 1, 1796064148063, 'reader', '{}', '1.0', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:emVybw==', 'alice', 'default', 'zero', 253402214400000, '083abf55c9a53afe9892619d', 24, 1796064147513, 'writer', 'run-1', NULL, 1796064147513, 'writer', 'run-1', NULL, 1, 1796064148063, 'reader', '{}', '0', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:0LrQu9GO0YcvJTprZXkg', 'alice', 'default', 'ключ/%:key ', 253402214400000, '5450fcc9a9f9365191770afa', 21, 1796064147581, 'writer', 'run-1', NULL, 1796064147581, 'writer', 'run-1', NULL, 1, 1796064148063, 'reader', '{}', '"a key of many kinds"', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:Y291bnQ=', 'alice', 'default', 'count', 253402214400000, '850d628d50cc45e9a302e8c6', 24, 1796064148129, 'writer', 'run-4', NULL, 1796064148129, 'writer', 'run-4', NULL, 0, NULL, NULL, '{}', '3', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:cmF0aW8=', 'alice', 'default', 'ratio', 253402214400000, 'e7f4e6c248b11054d493927e', 24, 1796064148157, 'writer', 'run-4', NULL, 1796064148157, 'writer', 'run-4', NULL, 0, NULL, NULL, '{}', '0.5', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:dG9nZXRoZXI=', 'alice', 'default', 'together', 253402214400000, 'b1a4643adf4730288f03900e', 24, 1796064148177, 'writer', 'run-4', NULL, 1796064148177, 'writer', 'run-4', NULL, 0, NULL, NULL, '{}', '1', NULL);
INSERT INTO datastore.entries VALUES ('alice:@locks/default:dG9rZW46ZG9vcg==', 'alice', '@locks/default', 'token:door', 253402214400000, 'e074a6a2ddef089301660f50', 24, 1796064148197, 'writer', 'run-4', NULL, 1796064148197, 'writer', 'run-4', NULL, 0, NULL, NULL, '{}', '1', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:Z3VhcmRlZA==', 'alice', 'default', 'guarded', 253402214400000, 'd342207b0b9ce360684523e3', 4, 1796064148210, 'writer', 'run-4', NULL, 1796064148210, 'writer', 'run-4', NULL, 0, NULL, NULL, '{}', 'true', NULL);
INSERT INTO datastore.entries VALUES ('@@datastore:keys:Y3Vyc29ycw==', '@@datastore', 'keys', 'cursors', 253402214400000, 'c2b47e029aaf82d21b5dfbb6', 66, 1796064148215, '@datastore', '-', NULL, 1796064148215, '@datastore', '-', NULL, 0, NULL, NULL, '{}', '"0274c49e6b5ff8c6c2314fc56080f84c9c2440b4a89254ed6ef817524f02a028"', NULL);
INSERT INTO datastore.entries VALUES ('@team:default:Zmlyc3Qgb2YgYWxpY2U=', '@team', 'default', 'first of alice', 253402214400000, '2b9aa9e24392d8cbf4a4e314', 7, 1796064148413, 'writer', 'run-5', 'alice', 1796064148413, 'writer', 'run-5', 'alice', 0, NULL, NULL, '{}', '"alice"', NULL);
INSERT INTO datastore.entries VALUES ('@team:default:bGF0ZXN0', '@team', 'default', 'latest', 253402214400000, 'bc119f8f17754982dd3678f4', 8, 1796064148394, 'writer', 'run-5', 'alice', 1796064148482, 'writer', 'run-5', 'bob', 0, NULL, NULL, '{}', '"by bob"', NULL);
INSERT INTO datastore.entries VALUES ('@team:default:Zmlyc3Qgb2YgYm9i', '@team', 'default', 'first of bob', 253402214400000, '46a69eb63fa2292cfe90a157', 5, 1796064148498, 'writer', 'run-5', 'bob', 1796064148498, 'writer', 'run-5', 'bob', 0, NULL, NULL, '{}', '"bob"', NULL);
INSERT INTO datastore.entries VALUES ('@@datastore:quotas:ODY2OTQ1NjUyODdiMzcyZTAxYmNkYmE4NjQ3ZTdiMDMwZjVlZjA5YjRkMzUwYjc5Nzk1ZTk2ZTUyYzdiZDYxNw==', '@@datastore', 'quotas', '86694565287b372e01bcdba8647e7b030f5ef09b4d350b79795e96e52c7bd617', 253402214400000, '78b2b53f8fda6ed8a3c4a681', 37, 1796064148618, '@admin/root', '@admin/root', NULL, 1796064148618, '@admin/root', '@admin/root', NULL, 0, NULL, NULL, '{}', '{"whole":{"bytes":100000,"keys":100}}', NULL);
INSERT INTO datastore.entries VALUES ('@@datastore:quotas:QEBjaGFuZ2Vk', '@@datastore', 'quotas', '@@changed', 253402214400000, '2716a6bf9defa41425255c97', 4, 1796064148618, '@admin/root', '@admin/root', NULL, 1796064148618, '@admin/root', '@admin/root', NULL, 0, NULL, NULL, '{}', 'null', NULL);
INSERT INTO datastore.entries VALUES ('@@datastore:blocked:YzkxN2QwYjEwY2FjMGZmODE1ZGRkODUyNDFlNWYxYzg4NjRhMzczMGZiMTMwZWUwNTI3OTk1ZWMxMTBhZTBiZA==', '@@datastore', 'blocked', 'c917d0b10cac0ff815ddd85241e5f1c8864a3730fb130ee0527995ec110ae0bd', 253402214400000, '0d3b4dbaf0ea94bd069fd650', 92, 1796064148774, '@admin/root', '@admin/root', NULL, 1796064148774, '@admin/root', '@admin/root', NULL, 0, NULL, NULL, '{}', '{"user":"mallory","by":"@admin/root","since":"2026-11-30T18:42:28.773+00:00","receipt":null}', NULL);
INSERT INTO datastore.entries VALUES ('@@datastore:receipts:YjY1MDE1OWM5MjdkZjUzYzk0OGYwOTY5', '@@datastore', 'receipts', 'b650159c927df53c948f0969', 253402214400000, 'fb3a59253b6aaf8657057309', 274, 1796064162285, '@admin/root', '@admin/root', NULL, 1796064162285, '@admin/root', '@admin/root', NULL, 0, NULL, NULL, '{}', '{"id":"b650159c927df53c948f0969","user_digest":"bbbd57d3a1dd775d2278971a9cfc66b3ea36e74ab0febbfe86c710451cd8c960","by":"@admin/root","begun_at":"2026-11-30T18:42:29.213+00:00","ended_at":"2026-11-30T18:42:42.285+00:00","keys":1,"bytes":6,"shared":0,"changes":1,"counters":0}', NULL);
INSERT INTO datastore.entries VALUES ('@@datastore:blocked:YmJiZDU3ZDNhMWRkNzc1ZDIyNzg5NzFhOWNmYzY2YjNlYTM2ZTc0YWIwZmViYmZlODZjNzEwNDUxY2Q4Yzk2MA==', '@@datastore', 'blocked', 'bbbd57d3a1dd775d2278971a9cfc66b3ea36e74ab0febbfe86c710451cd8c960', 253402214400000, '9a771e748d62af9bf52517d0', 357, 1796064149214, '@admin/root', '@admin/root', NULL, 1796064162291, '@admin/root', '@admin/root', NULL, 0, NULL, NULL, '{}', '{"user":null,"by":"@admin/root","since":"2026-11-30T18:42:29.214+00:00","receipt":{"id":"b650159c927df53c948f0969","user_digest":"bbbd57d3a1dd775d2278971a9cfc66b3ea36e74ab0febbfe86c710451cd8c960","by":"@admin/root","begun_at":"2026-11-30T18:42:29.213+00:00","ended_at":"2026-11-30T18:42:42.285+00:00","keys":1,"bytes":6,"shared":0,"changes":1,"counters":0}}', NULL);
INSERT INTO datastore.entries VALUES ('bob:default:Y291bnRlZA==', 'bob', 'default', 'counted', 253402214400000, '2e8568dce44fd84a5a1e05bf', 102, 1796064162354, 'writer', 'run-6', NULL, 1796064162354, 'writer', 'run-6', NULL, 1, 1796064162401, 'writer', '{}', '"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"', NULL);
SELECT pg_catalog.setval('datastore.changes_seq_seq', 58, true);
ALTER TABLE ONLY datastore.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (id);
ALTER TABLE ONLY datastore.change_horizons
    ADD CONSTRAINT change_horizons_pkey PRIMARY KEY (owner);
ALTER TABLE ONLY datastore.changes
    ADD CONSTRAINT changes_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY datastore.counters
    ADD CONSTRAINT counters_pkey PRIMARY KEY (owner, namespace);
ALTER TABLE ONLY datastore.entries
    ADD CONSTRAINT entries_pkey PRIMARY KEY (id);
CREATE INDEX audit_by_agent ON datastore.audit USING btree (by_agent, at, id);
CREATE INDEX audit_by_key ON datastore.audit USING btree (key, at, id);
CREATE INDEX audit_by_time ON datastore.audit USING btree (at, id);
CREATE INDEX audit_by_user ON datastore.audit USING btree (by_user, at, id);
CREATE INDEX changes_by_owner ON datastore.changes USING btree (owner, seq);
CREATE INDEX entries_by_creator ON datastore.entries USING btree (created_by_user, id) WHERE (created_by_user IS NOT NULL);
CREATE INDEX entries_by_expiry ON datastore.entries USING btree (expires_at) WHERE (expires_at < '253402214400000'::bigint);
CREATE INDEX entries_by_key ON datastore.entries USING btree (owner, namespace, key, expires_at);
CREATE INDEX entries_by_updater ON datastore.entries USING btree (updated_by_user, id) WHERE (updated_by_user IS NOT NULL);
CREATE TRIGGER counted_deleted AFTER DELETE ON datastore.entries REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION datastore.counted_deleted();
CREATE CONSTRAINT TRIGGER counted_inserted AFTER INSERT ON datastore.entries DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION datastore.counted_inserted();
CREATE CONSTRAINT TRIGGER counted_updated AFTER UPDATE OF size_bytes ON datastore.entries DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION datastore.counted_updated();
CREATE CONSTRAINT TRIGGER entries_deleted AFTER DELETE ON datastore.entries DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION datastore.entries_deleted();
CREATE CONSTRAINT TRIGGER entries_inserted AFTER INSERT ON datastore.entries DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION datastore.entries_inserted();
CREATE CONSTRAINT TRIGGER entries_updated AFTER UPDATE OF version ON datastore.entries DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION datastore.entries_updated();
