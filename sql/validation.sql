-- Every refusal has an SQLSTATE and says what to do. None needs NATS.
\set SHOW_CONTEXT never
CREATE EXTENSION pgbraid;
CREATE TABLE v_t (id int PRIMARY KEY);
CREATE TABLE v_nokey (id int);
CREATE TABLE v_nothing (id int PRIMARY KEY);
ALTER TABLE v_nothing REPLICA IDENTITY NOTHING;
CREATE UNLOGGED TABLE v_unlogged (id int PRIMARY KEY);
CREATE TEMPORARY TABLE v_temporary (id int PRIMARY KEY);
CREATE VIEW v_view AS SELECT * FROM v_t;
CREATE MATERIALIZED VIEW v_matview AS SELECT 1 AS id;
CREATE SEQUENCE v_sequence;
CREATE FOREIGN DATA WRAPPER v_other;
CREATE SERVER v_other FOREIGN DATA WRAPPER v_other;
CREATE PUBLICATION v_publication FOR TABLE v_t;

-- What is published.
SELECT pgflow_create('v');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', publication => 'v_publication');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t,NULL}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_missing}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_nokey}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_nothing}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_unlogged}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_temporary}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_view}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_matview}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_sequence}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{pg_class}');
\echo :SQLSTATE
SELECT pgflow_create('v', publication => 'v_missing');
\echo :SQLSTATE

-- How.
SELECT pgflow_create('', tables => '{v_t}');
\echo :SQLSTATE
SELECT pgflow_create(NULL, tables => '{v_t}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', format => 'xml');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', snapshot => 'sometimes');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', options => '{"mesage_id": true}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', options => '[1]');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', options => '{"message_id": "no"}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', options => '{"replicas": 6}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', options => '{"messages": "app"}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', options => '{"messages": [1]}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', options => '{"messages": ["pgbraid"]}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', options => '{"message_subject": "a.{table}"}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', options => '{"message_subject": 1}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', options => '{"transactions": "yes"}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', options => '{"transaction_subject": "a.{prefix}"}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', options => '{"schema_events": "some"}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', options => '{"schema_events": null}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', options => '{"oversize": "ignore"}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', options => '{"failover": "yes"}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', options => '{"follow": "name"}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', subject => 'a.{prefix}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', server => 'v_missing');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', server => 'v_other');
\echo :SQLSTATE

-- Subjects and streams.
SELECT pgflow_create('v', tables => '{v_t}', subject => 'a.{nope}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', subject => 'a.{table');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', subject => 'a..b');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', subject => '');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', subject => '.a');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', subject => 'a.*');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', subject => 'a.>');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', subject => 'a b');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', subject => '$JS.API.{table}');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', stream => '');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', stream => 'a.b');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', stream => 'a b');
\echo :SQLSTATE
SELECT pgflow_create('v', tables => '{v_t}', stream => 'a*');
\echo :SQLSTATE

-- Nothing is left of all these.
SELECT count(*) FROM pgbraid.flows;
SELECT pubname FROM pg_publication WHERE pubname LIKE 'pgflow%';

-- What is taken.
BEGIN;
SELECT pgflow_create('v', tables => '{v_t}', stream => 'v_stream') > 0 AS created;
SAVEPOINT s;
SELECT pgflow_create('v', tables => '{v_t}');
\echo :SQLSTATE
ROLLBACK TO s;
SELECT pgflow_create('v2', tables => '{v_t}', stream => 'v_stream');
\echo :SQLSTATE
ROLLBACK TO s;
SELECT pgflow_alter('v', publication => 'v_publication', tables => '{v_t}');
\echo :SQLSTATE
ROLLBACK TO s;
SELECT pgflow_alter('v', format => 'xml');
\echo :SQLSTATE
ROLLBACK TO s;
SELECT pgflow_alter('v', options => '{"nope": 1}');
\echo :SQLSTATE
ROLLBACK TO s;
SELECT pgflow_alter('v', tables => '{v_nokey}');
\echo :SQLSTATE
ROLLBACK TO s;
SELECT pgflow_alter('v', server => 'v_missing');
\echo :SQLSTATE
ROLLBACK TO s;
SELECT pgflow_alter('v', subject => 'a.>');
\echo :SQLSTATE
ROLLBACK;

-- Packs, columns and filters.
CREATE TABLE v_person (id int PRIMARY KEY, email text, name text);
CREATE TABLE v_later (id int PRIMARY KEY);
CREATE SERVER v_events FOREIGN DATA WRAPPER pgbraid_nats OPTIONS (url 'nats://127.0.0.1:1');
CREATE FUNCTION v_create(options jsonb, publication name DEFAULT NULL, server name DEFAULT NULL) RETURNS boolean LANGUAGE sql AS $$
	SELECT pgflow_create('v', tables => CASE WHEN publication IS NULL THEN '{v_person}'::regclass[] END, publication => publication,
		server => server, options => options) > 0;
$$;
CREATE FUNCTION v_check(int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true';
SELECT v_create('{"rows_per_message": 0}');
\echo :SQLSTATE
SELECT v_create('{"rows_per_message": 10001}');
\echo :SQLSTATE
SELECT v_create('{"rows_per_message": "many"}');
\echo :SQLSTATE
SELECT v_create('{"columns": []}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"public.v_person": 1}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"public.v_person": {"email": "hash"}}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"v_person": {"email": {"drop": true}}}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"PUBLIC.v_person": {"email": {"drop": true}}}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"a b": {"email": {"drop": true}}}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"public.v_none": {"email": {"drop": true}}}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"public.v_later": {"id": {"rename": "x"}}}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"public.v_person": {"mail": {"drop": true}}}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"public.v_person": {"email": {"hide": true}}}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"public.v_person": {"email": {}}}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"public.v_person": {"email": {"if_exists": true}}}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"public.v_person": {"email": {"mask": "rot13"}}}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"public.v_person": {"email": {"mask": null}}}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"public.v_person": {"email": {"mask": "partial"}}}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"public.v_person": {"email": {"mask": "partial", "keep": -1}}}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"public.v_person": {"email": {"mask": "hash", "keep": 1}}}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"public.v_person": {"email": {"keep": 1}}}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"public.v_person": {"email": {"mask": "fixed"}}}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"public.v_person": {"email": {"mask": "fixed", "value": 1}}}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"public.v_person": {"email": {"rename": ""}}}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"public.v_person": {"email": {"drop": false}}}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"public.v_person": {"email": {"drop": true, "rename": "x"}}}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"public.v_person": {"email": {"drop": true, "if_exists": 1}}}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"public.v_person": {"email": {"rename": "name"}}}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"public.v_person": {"email": {"rename": "x"}, "name": {"rename": "x"}}}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"public.v_person": {"id": {"drop": true}}}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"public.v_person": {"id": {"mask": "fixed", "value": "x"}}}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"public.v_person": {"id": {"mask": "partial", "keep": 1}}}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"public.v_person": {"email": {"mask": "hash"}}}}');
\echo :SQLSTATE
SELECT v_create('{"columns": {"public.v_person": {"email": {"mask": "hash"}}}}', server => 'v_events');
\echo :SQLSTATE
CREATE USER MAPPING FOR PUBLIC SERVER v_events OPTIONS (user 'u');
SELECT v_create('{"columns": {"public.v_person": {"email": {"mask": "hash"}}}}', server => 'v_events');
\echo :SQLSTATE
SELECT v_create('{"filter": "id > 1"}');
\echo :SQLSTATE
SELECT v_create('{"filter": {"public.v_person": 1}}');
\echo :SQLSTATE
SELECT v_create('{"filter": {"v_person": "id > 1"}}');
\echo :SQLSTATE
SELECT v_create('{"filter": {"public.v_none": "id > 1"}}');
\echo :SQLSTATE
SELECT v_create('{"filter": {"public.v_later": "id > 1"}}');
\echo :SQLSTATE
SELECT v_create('{"filter": {"public.v_person": "id"}}');
\echo :SQLSTATE
SELECT v_create('{"filter": {"public.v_person": "id >"}}');
\echo :SQLSTATE
SELECT v_create('{"filter": {"public.v_person": ""}}');
\echo :SQLSTATE
SELECT v_create('{"filter": {"public.v_person": "nope > 1"}}');
\echo :SQLSTATE
SELECT v_create('{"filter": {"public.v_person": "now() > timestamp ''2026-01-01''"}}');
\echo :SQLSTATE
SELECT v_create('{"filter": {"public.v_person": "id > (SELECT 1)"}}');
\echo :SQLSTATE
SELECT v_create('{"filter": {"public.v_person": "v_check(id)"}}');
\echo :SQLSTATE
SELECT v_create('{"filter": {"public.v_person": "sum(id) > 1"}}');
\echo :SQLSTATE
SELECT v_create('{"filter": {"public.v_person": "tableoid = 1"}}');
\echo :SQLSTATE
SELECT v_create('{"filter": {"public.v_person": "true), TABLE public.v_later WHERE (true"}}');
\echo :SQLSTATE
SELECT v_create('{"filter": {"public.v_person": "id > 1 FROM v_later"}}');
\echo :SQLSTATE
SELECT v_create('{"filter": {"public.v_person": "id > 1, true"}}');
\echo :SQLSTATE
SELECT v_create('{"filter": {"public.v_person": "name = ''x''"}}');
\echo :SQLSTATE
SELECT count(*) FROM pgbraid.flows;
SELECT pubname FROM pg_publication WHERE pubname ~ '^pg(flow|braid)';

-- What is right, and then altered.
BEGIN;
ALTER USER MAPPING FOR PUBLIC SERVER v_events OPTIONS (ADD mask_key 'key');
CREATE PUBLICATION v_inserts FOR TABLE v_person WITH (publish = 'insert');
SELECT v_create('{"rows_per_message": 10000, "columns": {"public.v_person": {"id": {"mask": "hash", "rename": "x"},
	"email": {"rename": "name"}, "name": {"rename": "email"}, "later": {"drop": true, "if_exists": true}},
	"public.v_none": {"a": {"mask": "fixed", "value": "", "if_exists": true}}},
	"filter": {"public.v_person": "name = ''x'' -- a comment"}}', publication => 'v_inserts', server => 'v_events');
SAVEPOINT s;
SELECT pgflow_alter('v', options => '{"columns": {"public.v_person": {"nope": {"drop": true}}}}');
\echo :SQLSTATE
ROLLBACK TO s;
SELECT pgflow_alter('v', options => '{"filter": {"public.v_person": "nope"}}');
\echo :SQLSTATE
ROLLBACK TO s;
SELECT pgflow_alter('v', publication => 'v_publication');
\echo :SQLSTATE
ROLLBACK TO s;
SELECT pgflow_alter('v', options => '{"columns": {}, "filter": {}}');
SELECT options FROM pgbraid.flows;
ROLLBACK;

-- A flow that is not there.
SELECT pgflow_alter('v', format => 'rows');
\echo :SQLSTATE
SELECT pgflow_pause('v');
\echo :SQLSTATE
SELECT pgflow_resume('v');
\echo :SQLSTATE
SELECT pgflow_wait('v');
\echo :SQLSTATE
SELECT pgflow_redrive('v');
\echo :SQLSTATE
SELECT pgflow_drop('v');
\echo :SQLSTATE
SELECT pgflow_drop('v', if_exists => true);

-- A flow is told of a user's publication, whose tables are the publication's own matter.
BEGIN;
SELECT pgflow_create('v', publication => 'v_publication') > 0 AS created;
SELECT pgflow_alter('v', tables => '{v_t}');
\echo :SQLSTATE
ROLLBACK;

-- Options of servers and user mappings.
CREATE SERVER v_server FOREIGN DATA WRAPPER pgbraid_nats OPTIONS (url 'http://host');
\echo :SQLSTATE
CREATE SERVER v_server FOREIGN DATA WRAPPER pgbraid_nats OPTIONS (url '');
\echo :SQLSTATE
CREATE SERVER v_server FOREIGN DATA WRAPPER pgbraid_nats OPTIONS (url 'nats://host:99999');
\echo :SQLSTATE
CREATE SERVER v_server FOREIGN DATA WRAPPER pgbraid_nats OPTIONS (password 'secret');
\echo :SQLSTATE
CREATE SERVER v_server FOREIGN DATA WRAPPER pgbraid_nats OPTIONS (tls_ca 'relative.pem');
\echo :SQLSTATE
CREATE SERVER v_server FOREIGN DATA WRAPPER pgbraid_nats OPTIONS (url 'nats://a:4222, tls://b');
CREATE USER MAPPING FOR CURRENT_USER SERVER v_server OPTIONS (pasword 'x');
\echo :SQLSTATE
CREATE USER MAPPING FOR CURRENT_USER SERVER v_server OPTIONS (token '');
\echo :SQLSTATE
CREATE USER MAPPING FOR CURRENT_USER SERVER v_server OPTIONS (nkey_seed_file 'seed.txt');
\echo :SQLSTATE
CREATE USER MAPPING FOR CURRENT_USER SERVER v_server OPTIONS (user 'u', password 'p', tls_cert '/c.pem', tls_key '/k.pem');
ALTER FOREIGN DATA WRAPPER pgbraid_nats OPTIONS (ADD x 'y');
\echo :SQLSTATE

SET client_min_messages = warning;
DROP SERVER v_server, v_events CASCADE;
DROP FUNCTION v_create, v_check;
DROP PUBLICATION v_publication;
DROP SERVER v_other;
DROP FOREIGN DATA WRAPPER v_other;
DROP SEQUENCE v_sequence;
DROP MATERIALIZED VIEW v_matview;
DROP VIEW v_view;
DROP TABLE v_t, v_nokey, v_nothing, v_unlogged, v_temporary, v_person, v_later;
DROP EXTENSION pgbraid;
