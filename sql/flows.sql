-- What the pgflow_* functions do to the catalog. All of it is transactional.
\set SHOW_CONTEXT never
CREATE EXTENSION pgbraid;
CREATE TABLE f_t (id int PRIMARY KEY);
CREATE TABLE "f U.v" (id int PRIMARY KEY);
CREATE PUBLICATION f_publication FOR TABLE f_t;

-- A rollback takes all of it back.
BEGIN;
SELECT pgflow_create('f', tables => '{f_t}') > 0 AS created;
SELECT flow, publication FROM pgbraid.flows;
ROLLBACK;
SELECT count(*) FROM pgbraid.flows;
SELECT count(*) FROM pg_publication WHERE pubname = 'pgflow_f';

BEGIN;
SELECT pgflow_create('f', tables => '{f_t,"\"f U.v\"",f_t}', stream => 'f_stream') > 0 AS created;
SELECT flow, publication, owns_publication, server, stream, subject, format, snapshot, options, paused, revision,
       owner = current_user::regrole AS owner_is_me, home = pgbraid.here() AS home_is_here
  FROM pgbraid.flows;
SELECT pubname, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot FROM pg_publication WHERE pubname = 'pgflow_f';
SELECT tablename FROM pg_publication_tables WHERE pubname = 'pgflow_f' ORDER BY tablename COLLATE "C";
SELECT obj_description(oid, 'pg_publication') FROM pg_publication WHERE pubname = 'pgflow_f';
SELECT pgbraid.slot_name(7) ~ '^pgflow_[0-9]+_7$' AS slot_name;

-- Alter: what is null stays.
SELECT pgflow_alter('f', format => 'rows', options => '{"message_id": false}');
SELECT pgflow_alter('f', options => '{"replicas": 1}', subject => 'f.{table}');
SELECT pgflow_alter('f', tables => '{f_t}');
SELECT format, options, subject, stream, revision FROM pgbraid.flows;
SELECT tablename FROM pg_publication_tables WHERE pubname = 'pgflow_f';
SELECT pgflow_alter('f', publication => 'f_publication');
SELECT publication, owns_publication FROM pgbraid.flows;
SELECT count(*) FROM pg_publication WHERE pubname = 'pgflow_f';

-- Pause and resume.
SELECT pgflow_pause('f');
SELECT paused FROM pgbraid.flows;
SELECT flow, state FROM pgbraid.stat_flow;
SELECT pgflow_resume('f');
SELECT paused FROM pgbraid.flows;
SELECT revision AS before FROM pgbraid.flows \gset
SELECT pgflow_resume('f', restart => true);
SELECT revision > :before AS begins_anew FROM pgbraid.flows;

-- Drop: the publication of the user stays.
SELECT pgflow_drop('f');
SELECT count(*) FROM pgbraid.flows;
SELECT count(*) FROM pg_publication WHERE pubname = 'f_publication';
SELECT pgflow_create('f', tables => '{f_t}') > 0 AS created;
SELECT pgflow_drop('f');
SELECT count(*) FROM pg_publication WHERE pubname = 'pgflow_f';
ROLLBACK;

-- Defaults may be given as null.
BEGIN;
SELECT pgflow_create('f', publication => 'f_publication', subject => NULL, format => NULL, snapshot => NULL, options => NULL) > 0 AS created;
SELECT subject, format, snapshot, options FROM pgbraid.flows;
ROLLBACK;

-- A copy of the database runs nothing until it is told to.
BEGIN;
SELECT pgflow_create('f', tables => '{f_t}') > 0 AS created;
UPDATE pgbraid.flows SET home = 'elsewhere';
SELECT state, last_error, last_hint FROM pgbraid.stat_flow;
SELECT pgflow_resume('f');
SELECT home = pgbraid.here() AS is_at_home FROM pgbraid.flows;
ROLLBACK;

-- A published table can be dropped; the flow stays.
BEGIN;
SELECT pgflow_create('f', tables => '{"\"f U.v\""}') > 0 AS created;
DROP TABLE "f U.v";
SELECT count(*) FROM pgbraid.flows;
ROLLBACK;

-- DROP EXTENSION takes the publications that it made along.
BEGIN;
SELECT pgflow_create('f', tables => '{f_t}') > 0 AS created;
DROP EXTENSION pgbraid;
SELECT count(*) FROM pg_publication WHERE pubname = 'pgflow_f';
ROLLBACK;

DROP PUBLICATION f_publication;
DROP TABLE f_t, "f U.v";
DROP EXTENSION pgbraid;
