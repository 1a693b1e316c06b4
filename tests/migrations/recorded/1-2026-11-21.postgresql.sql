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
    updated_at bigint NOT NULL,
    updated_by_agent text NOT NULL,
    updated_by_run text NOT NULL,
    access_count bigint NOT NULL,
    last_accessed_at bigint,
    last_accessed_by_agent text,
    metadata text NOT NULL,
    value text,
    value_bytes bytea
);
COMMENT ON TABLE datastore.entries IS 'agent-data-store, layout 1';
ALTER TABLE ONLY datastore.changes ALTER COLUMN seq SET DEFAULT nextval('datastore.changes_seq_seq'::regclass);
INSERT INTO datastore.changes VALUES (1, 1796064110135, 'alice', 'default', 'text', '494007434a40c5927428fe0d');
INSERT INTO datastore.changes VALUES (2, 1796064110138, 'alice', 'default', 'empty', '2ca39e3ffa5bd96ae8f576a8');
INSERT INTO datastore.changes VALUES (3, 1796064110141, 'alice', 'default', 'null', 'a9ee0fb7e0b75efe28c6bc26');
INSERT INTO datastore.changes VALUES (4, 1796064110143, 'alice', 'default', 'true', '382a888d4a0e101242984400');
INSERT INTO datastore.changes VALUES (5, 1796064110145, 'alice', 'default', 'zero', 'fe29ef83d1cd93fe676b8e86');
INSERT INTO datastore.changes VALUES (6, 1796064110147, 'alice', 'default', 'least', '2a39eaa053965ac536e72eef');
INSERT INTO datastore.changes VALUES (7, 1796064110148, 'alice', 'default', 'most', '82ade375303c5573b9414599');
INSERT INTO datastore.changes VALUES (8, 1796064110149, 'alice', 'default', 'float', 'd8a198796268b75cad0e5e82');
INSERT INTO datastore.changes VALUES (9, 1796064110151, 'alice', 'default', 'huge', 'aab921cfe662db1347feb052');
INSERT INTO datastore.changes VALUES (10, 1796064110152, 'alice', 'default', 'whole float', '054e7a1cc922e13d60ff62c1');
INSERT INTO datastore.changes VALUES (11, 1796064110153, 'alice', 'default', 'list', '25b50642f21796997e66c531');
INSERT INTO datastore.changes VALUES (12, 1796064110154, 'alice', 'default', 'object', 'd07daf64d6f49bc0fd207a9a');
INSERT INTO datastore.changes VALUES (13, 1796064110155, 'alice', 'default', 'field names', '525110936e34386b0fe1f14e');
INSERT INTO datastore.changes VALUES (14, 1796064110156, 'alice', 'default', 'bytes', '93573ec58e4f8de2a07ce8d4');
INSERT INTO datastore.changes VALUES (15, 1796064110157, 'alice', 'default', 'no bytes', 'b8f52c2838f760561fe026d3');
INSERT INTO datastore.changes VALUES (16, 1796064110158, 'alice', 'default', 'ключ/%:key ', '7932c1be8056a9b063b9ba9f');
INSERT INTO datastore.changes VALUES (17, 1796064110165, 'alice', 'default', 'described', 'af26e5ed68734d4de9c7bc3c');
INSERT INTO datastore.changes VALUES (18, 1796064110170, 'alice', 'default', 'described', '97ab5c25e239227c1d02ae16');
INSERT INTO datastore.changes VALUES (19, 1796064110171, 'alice', 'default', 'lasting', '01e1ccd62919de7c9e2fca05');
INSERT INTO datastore.changes VALUES (20, 1796064110172, 'alice', 'default', 'gone', 'e637f892ab0e4e8fd1cb9f22');
INSERT INTO datastore.changes VALUES (21, 1796064110173, 'alice', 'default', 'deleted', '30e85ea962b9840fe6c4eae2');
INSERT INTO datastore.changes VALUES (22, 1796064110175, 'alice', 'default', 'deleted', NULL);
INSERT INTO datastore.changes VALUES (23, 1796064110176, 'alice', 'default', 'added', '6885387751995f7133103c11');
INSERT INTO datastore.changes VALUES (24, 1796064110178, 'alice', 'files:apache/my-repo', 'README.md', 'fb9ecbb671c52b0b9ea9c7bd');
INSERT INTO datastore.changes VALUES (25, 1796064110178, 'alice', 'files:apache/my-repo', 'src/app.py', 'd678897d9b747231afcff4c0');
INSERT INTO datastore.changes VALUES (26, 1796064110188, 'alice', 'backup', 'README.md', 'd96ed92282e100c3d8e81033');
INSERT INTO datastore.changes VALUES (27, 1796064110188, 'alice', 'backup', 'src/app.py', '4a4f531242a1fcf850dbd535');
INSERT INTO datastore.changes VALUES (28, 1796064110190, 'alice', '@agent/writer', 'note', 'e6be6735221510ffd5570bd7');
INSERT INTO datastore.changes VALUES (29, 1796064110191, 'alice', '@agent/writer/plans', 'note', 'd7b8a8714488758fec01b668');
INSERT INTO datastore.changes VALUES (30, 1796064110218, 'bob', 'default', 'text', '8406c241c1b3fdcc493ddba4');
INSERT INTO datastore.changes VALUES (31, 1796064110221, 'bob', 'files:apache/my-repo', 'src/app.py', '49316ff7c16f87792b66e7b9');
INSERT INTO datastore.changes VALUES (32, 1796064110247, 'tenant:7%', 'default', 'text', '4efacb633321260b1e967471');
INSERT INTO datastore.changes VALUES (33, 1796064110249, 'tenant:7%', 'files:apache/my-repo', 'src/app.py', 'cbba5e4d8be02297485a99c8');
INSERT INTO datastore.changes VALUES (34, 1796064110295, 'alice', 'default', 'object', 'fec8e0d00fb5a7303c8fc72c');
INSERT INTO datastore.changes VALUES (35, 1796064110333, 'alice', 'default', 'count', '09d902138bff6a852cf22d4c');
INSERT INTO datastore.changes VALUES (36, 1796064110338, 'alice', 'default', 'ratio', '64ee5024e6fae4b035da5bfd');
INSERT INTO datastore.changes VALUES (37, 1796064110346, 'alice', 'default', 'described', 'dfe1b13aec76d7a9fd8f7073');
INSERT INTO datastore.changes VALUES (38, 1796064110355, 'alice', 'default', 'added', NULL);
INSERT INTO datastore.changes VALUES (39, 1796064110355, 'alice', 'default', 'together', 'a13ddef72fc5b032bd303950');
INSERT INTO datastore.changes VALUES (40, 1796064110358, 'alice', '@locks/default', 'lease:door', 'bc5eaf9eb553708d7f972529');
INSERT INTO datastore.changes VALUES (41, 1796064110362, 'alice', '@locks/default', 'token:door', '4a0478f5c96665056728d218');
INSERT INTO datastore.changes VALUES (42, 1796064110365, 'alice', '@locks/default', 'lease:door', '34f731480a796879ce952393');
INSERT INTO datastore.changes VALUES (43, 1796064110367, 'alice', 'default', 'guarded', 'dd79d32accce7e46c19d9788');
INSERT INTO datastore.changes VALUES (44, 1796064110370, 'alice', '@locks/default', 'lease:door', NULL);
INSERT INTO datastore.changes VALUES (45, 1796064110374, '@@datastore', 'keys', 'cursors', '502e78e53566561ae7667629');
INSERT INTO datastore.entries VALUES ('alice:default:bGFzdGluZw==', 'alice', 'default', 'lasting', 2079888110170, '01e1ccd62919de7c9e2fca05', 11, 1796064110170, 'writer', 'run-1', 1796064110170, 'writer', 'run-1', 0, NULL, NULL, '{}', '"for years"', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:Z29uZQ==', 'alice', 'default', 'gone', 1796064111171, 'e637f892ab0e4e8fd1cb9f22', 13, 1796064110171, 'writer', 'run-1', 1796064110171, 'writer', 'run-1', 0, NULL, NULL, '{}', '"in a second"', NULL);
INSERT INTO datastore.entries VALUES ('alice:files:apache/my-repo:UkVBRE1FLm1k', 'alice', 'files:apache/my-repo', 'README.md', 253402214400000, 'fb9ecbb671c52b0b9ea9c7bd', 6, 1796064110176, 'writer', 'run-1', 1796064110176, 'writer', 'run-1', 0, NULL, NULL, '{}', '"# Hi"', NULL);
INSERT INTO datastore.entries VALUES ('alice:files:apache/my-repo:c3JjL2FwcC5weQ==', 'alice', 'files:apache/my-repo', 'src/app.py', 253402214400000, 'd678897d9b747231afcff4c0', 10, 1796064110176, 'writer', 'run-1', 1796064110176, 'writer', 'run-1', 0, NULL, NULL, '{}', '"print(1)"', NULL);
INSERT INTO datastore.entries VALUES ('alice:backup:UkVBRE1FLm1k', 'alice', 'backup', 'README.md', 253402214400000, 'd96ed92282e100c3d8e81033', 6, 1796064110180, 'writer', 'run-1', 1796064110180, 'writer', 'run-1', 0, NULL, NULL, '{}', '"# Hi"', NULL);
INSERT INTO datastore.entries VALUES ('alice:backup:c3JjL2FwcC5weQ==', 'alice', 'backup', 'src/app.py', 253402214400000, '4a4f531242a1fcf850dbd535', 10, 1796064110180, 'writer', 'run-1', 1796064110180, 'writer', 'run-1', 0, NULL, NULL, '{}', '"print(1)"', NULL);
INSERT INTO datastore.entries VALUES ('alice:@agent/writer:bm90ZQ==', 'alice', '@agent/writer', 'note', 253402214400000, 'e6be6735221510ffd5570bd7', 15, 1796064110188, 'writer', 'run-1', 1796064110188, 'writer', 'run-1', 0, NULL, NULL, '{}', '"of the writer"', NULL);
INSERT INTO datastore.entries VALUES ('alice:@agent/writer/plans:bm90ZQ==', 'alice', '@agent/writer/plans', 'note', 253402214400000, 'd7b8a8714488758fec01b668', 20, 1796064110190, 'writer', 'run-1', 1796064110190, 'writer', 'run-1', 0, NULL, NULL, '{}', '"of the writer, too"', NULL);
INSERT INTO datastore.entries VALUES ('bob:default:dGV4dA==', 'bob', 'default', 'text', 253402214400000, '8406c241c1b3fdcc493ddba4', 8, 1796064110212, 'writer', 'run-2', 1796064110212, 'writer', 'run-2', 0, NULL, NULL, '{}', '"of bob"', NULL);
INSERT INTO datastore.entries VALUES ('bob:files:apache/my-repo:c3JjL2FwcC5weQ==', 'bob', 'files:apache/my-repo', 'src/app.py', 253402214400000, '49316ff7c16f87792b66e7b9', 14, 1796064110219, 'writer', 'run-2', 1796064110219, 'writer', 'run-2', 0, NULL, NULL, '{}', '"print(''bob'')"', NULL);
INSERT INTO datastore.entries VALUES ('tenant%3A7%25:default:dGV4dA==', 'tenant:7%', 'default', 'text', 253402214400000, '4efacb633321260b1e967471', 14, 1796064110242, 'writer', 'run-2', 1796064110242, 'writer', 'run-2', 0, NULL, NULL, '{}', '"of tenant:7%"', NULL);
INSERT INTO datastore.entries VALUES ('tenant%3A7%25:files:apache/my-repo:c3JjL2FwcC5weQ==', 'tenant:7%', 'files:apache/my-repo', 'src/app.py', 253402214400000, 'cbba5e4d8be02297485a99c8', 20, 1796064110247, 'writer', 'run-2', 1796064110247, 'writer', 'run-2', 0, NULL, NULL, '{}', '"print(''tenant:7%'')"', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:Ynl0ZXM=', 'alice', 'default', 'bytes', 253402214400000, '93573ec58e4f8de2a07ce8d4', 256, 1796064110155, 'writer', 'run-1', 1796064110155, 'writer', 'run-1', 1, 1796064110280, 'reader', '{}', NULL, '\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff');
INSERT INTO datastore.entries VALUES ('alice:default:ZW1wdHk=', 'alice', 'default', 'empty', 253402214400000, '2ca39e3ffa5bd96ae8f576a8', 2, 1796064110136, 'writer', 'run-1', 1796064110136, 'writer', 'run-1', 1, 1796064110280, 'reader', '{}', '""', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:ZmllbGQgbmFtZXM=', 'alice', 'default', 'field names', 253402214400000, '525110936e34386b0fe1f14e', 42, 1796064110154, 'writer', 'run-1', 1796064110154, 'writer', 'run-1', 1, 1796064110280, 'reader', '{}', '{"":1,"a.b":2,"$set":3,"$ref":"c","$id":4}', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:ZmxvYXQ=', 'alice', 'default', 'float', 253402214400000, 'd8a198796268b75cad0e5e82', 24, 1796064110148, 'writer', 'run-1', 1796064110148, 'writer', 'run-1', 1, 1796064110280, 'reader', '{}', '0.1', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:ZGVzY3JpYmVk', 'alice', 'default', 'described', 253402214400000, 'dfe1b13aec76d7a9fd8f7073', 24, 1796064110158, 'writer', 'run-1', 1796064110343, 'writer', 'run-4', 1, 1796064110342, 'writer', '{"source":"crm","tags":{"a.b":["$x"],"":null},"more":true}', '3', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:aHVnZQ==', 'alice', 'default', 'huge', 253402214400000, 'aab921cfe662db1347feb052', 24, 1796064110149, 'writer', 'run-1', 1796064110149, 'writer', 'run-1', 1, 1796064110280, 'reader', '{}', '1e+308', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:bGVhc3Q=', 'alice', 'default', 'least', 253402214400000, '2a39eaa053965ac536e72eef', 24, 1796064110145, 'writer', 'run-1', 1796064110145, 'writer', 'run-1', 1, 1796064110280, 'reader', '{}', '-9223372036854775808', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:bGlzdA==', 'alice', 'default', 'list', 253402214400000, '25b50642f21796997e66c531', 21, 1796064110152, 'writer', 'run-1', 1796064110152, 'writer', 'run-1', 1, 1796064110280, 'reader', '{}', '[1,[2,[null,"x"]],{}]', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:bW9zdA==', 'alice', 'default', 'most', 253402214400000, '82ade375303c5573b9414599', 24, 1796064110147, 'writer', 'run-1', 1796064110147, 'writer', 'run-1', 1, 1796064110280, 'reader', '{}', '9223372036854775807', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:bm8gYnl0ZXM=', 'alice', 'default', 'no bytes', 253402214400000, 'b8f52c2838f760561fe026d3', 0, 1796064110156, 'writer', 'run-1', 1796064110156, 'writer', 'run-1', 1, 1796064110280, 'reader', '{}', NULL, '\x');
INSERT INTO datastore.entries VALUES ('alice:default:bnVsbA==', 'alice', 'default', 'null', 253402214400000, 'a9ee0fb7e0b75efe28c6bc26', 4, 1796064110139, 'writer', 'run-1', 1796064110139, 'writer', 'run-1', 1, 1796064110280, 'reader', '{}', 'null', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:b2JqZWN0', 'alice', 'default', 'object', 253402214400000, 'fec8e0d00fb5a7303c8fc72c', 16, 1796064110153, 'writer', 'run-1', 1796064110286, 'reader', 'run-3', 1, 1796064110280, 'reader', '{}', '{"changed":true}', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:dGV4dA==', 'alice', 'default', 'text', 253402214400000, '494007434a40c5927428fe0d', 37, 1796064110129, 'writer', 'run-1', 1796064110129, 'writer', 'run-1', 2, 1796064110285, 'reader', '{}', '"näïve 😀 \\ \"quoted\" \n tab\t"', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:dHJ1ZQ==', 'alice', 'default', 'true', 253402214400000, '382a888d4a0e101242984400', 4, 1796064110141, 'writer', 'run-1', 1796064110141, 'writer', 'run-1', 1, 1796064110280, 'reader', '{}', 'true', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:d2hvbGUgZmxvYXQ=', 'alice', 'default', 'whole float', 253402214400000, '054e7a1cc922e13d60ff62c1', 24, 1796064110151, 'writer', 'run-1', 1796064110151, 'writer', 'run-1', 1, 1796064110280, 'reader', '{}', '1.0', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:emVybw==', 'alice', 'default', 'zero', 253402214400000, 'fe29ef83d1cd93fe676b8e86', 24, 1796064110144, 'writer', 'run-1', 1796064110144, 'writer', 'run-1', 1, 1796064110280, 'reader', '{}', '0', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:0LrQu9GO0YcvJTprZXkg', 'alice', 'default', 'ключ/%:key ', 253402214400000, '7932c1be8056a9b063b9ba9f', 21, 1796064110158, 'writer', 'run-1', 1796064110158, 'writer', 'run-1', 1, 1796064110280, 'reader', '{}', '"a key of many kinds"', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:Y291bnQ=', 'alice', 'default', 'count', 253402214400000, '09d902138bff6a852cf22d4c', 24, 1796064110324, 'writer', 'run-4', 1796064110324, 'writer', 'run-4', 0, NULL, NULL, '{}', '3', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:cmF0aW8=', 'alice', 'default', 'ratio', 253402214400000, '64ee5024e6fae4b035da5bfd', 24, 1796064110334, 'writer', 'run-4', 1796064110334, 'writer', 'run-4', 0, NULL, NULL, '{}', '0.5', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:dG9nZXRoZXI=', 'alice', 'default', 'together', 253402214400000, 'a13ddef72fc5b032bd303950', 24, 1796064110346, 'writer', 'run-4', 1796064110346, 'writer', 'run-4', 0, NULL, NULL, '{}', '1', NULL);
INSERT INTO datastore.entries VALUES ('alice:@locks/default:dG9rZW46ZG9vcg==', 'alice', '@locks/default', 'token:door', 253402214400000, '4a0478f5c96665056728d218', 24, 1796064110359, 'writer', 'run-4', 1796064110359, 'writer', 'run-4', 0, NULL, NULL, '{}', '1', NULL);
INSERT INTO datastore.entries VALUES ('alice:default:Z3VhcmRlZA==', 'alice', 'default', 'guarded', 253402214400000, 'dd79d32accce7e46c19d9788', 4, 1796064110366, 'writer', 'run-4', 1796064110366, 'writer', 'run-4', 0, NULL, NULL, '{}', 'true', NULL);
INSERT INTO datastore.entries VALUES ('@@datastore:keys:Y3Vyc29ycw==', '@@datastore', 'keys', 'cursors', 253402214400000, '502e78e53566561ae7667629', 66, 1796064110371, '@datastore', '-', 1796064110371, '@datastore', '-', 0, NULL, NULL, '{}', '"c9f47c02f2b8fc6c607dd30560022e60c4c91214b0c3eb7fa41c14bd465a5290"', NULL);
SELECT pg_catalog.setval('datastore.changes_seq_seq', 45, true);
ALTER TABLE ONLY datastore.change_horizons
    ADD CONSTRAINT change_horizons_pkey PRIMARY KEY (owner);
ALTER TABLE ONLY datastore.changes
    ADD CONSTRAINT changes_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY datastore.entries
    ADD CONSTRAINT entries_pkey PRIMARY KEY (id);
CREATE INDEX changes_by_owner ON datastore.changes USING btree (owner, seq);
CREATE INDEX entries_by_expiry ON datastore.entries USING btree (expires_at) WHERE (expires_at < '253402214400000'::bigint);
CREATE INDEX entries_by_key ON datastore.entries USING btree (owner, namespace, key, expires_at);
CREATE CONSTRAINT TRIGGER entries_deleted AFTER DELETE ON datastore.entries DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION datastore.entries_deleted();
CREATE CONSTRAINT TRIGGER entries_inserted AFTER INSERT ON datastore.entries DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION datastore.entries_inserted();
CREATE CONSTRAINT TRIGGER entries_updated AFTER UPDATE OF version ON datastore.entries DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION datastore.entries_updated();
