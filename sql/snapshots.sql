-- What pgflow_snapshot asks for, and what it refuses. None needs NATS: nothing is committed.
\set SHOW_CONTEXT never
CREATE EXTENSION pgbraid;
CREATE TABLE s_t (id int PRIMARY KEY, amount numeric, region text);
CREATE TABLE s_other (id int PRIMARY KEY);
CREATE TABLE s_parts (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE s_part PARTITION OF s_parts FOR VALUES FROM (0) TO (10);

BEGIN;
SELECT pgflow_create('s', tables => '{s_t,s_parts}') > 0 AS created;
-- The initial snapshot has not begun: it serves.
SELECT pgflow_snapshot('s') = (SELECT id FROM pgbraid.flow_snapshots) AS same;
SELECT pgflow_snapshot('s', tables => '{s_t}') = (SELECT id FROM pgbraid.flow_snapshots) AS same;
-- Also for a part.
SELECT pgflow_snapshot('s', tables => '{s_t}', filter => 'amount > 10 AND region LIKE ''e%''') > 0 AS requested;
SELECT pgflow_snapshot('s', tables => '{s_part}') > 0 AS requested;
SELECT initial, tables, filter, cutoff, rows, finished_at FROM pgbraid.flow_snapshots ORDER BY id;
-- Begun, the initial one can't take on more.
UPDATE pgbraid.flow_snapshots SET cutoff = '1:1:';
SELECT pgflow_snapshot('s', tables => '{s_t}') = ANY (SELECT id FROM pgbraid.flow_snapshots WHERE cutoff IS NOT NULL) AS same;
-- Tables that are added are brought in; beginning anew forgets what was asked for.
SELECT pgflow_alter('s', tables => '{s_t,s_other}');
SELECT initial, tables, filter, cutoff FROM pgbraid.flow_snapshots WHERE cutoff IS NULL ORDER BY id;
SELECT pgflow_resume('s', restart => true);
SELECT initial, tables, filter, cutoff FROM pgbraid.flow_snapshots ORDER BY id;
SELECT pgflow_drop('s');
SELECT count(*) FROM pgbraid.flow_snapshots;
ROLLBACK;

BEGIN;
SELECT pgflow_create('s', tables => '{s_t}', snapshot => 'none') > 0 AS created;
SELECT count(*) FROM pgbraid.flow_snapshots;
SELECT pgflow_alter('s', tables => '{s_t,s_other}');
SELECT count(*) FROM pgbraid.flow_snapshots;
SAVEPOINT s;
\set ON_ERROR_ROLLBACK on
SELECT pgflow_snapshot('nowhere');
\echo :SQLSTATE
SELECT pgflow_snapshot('s', tables => '{}');
\echo :SQLSTATE
SELECT pgflow_snapshot('s', tables => '{s_parts}');
\echo :SQLSTATE
SELECT pgflow_snapshot('s', filter => 'amount > 10');
\echo :SQLSTATE
SELECT pgflow_snapshot('s', tables => '{s_t}', filter => 'amount');
\echo :SQLSTATE
SELECT pgflow_snapshot('s', tables => '{s_t}', filter => 'amount >');
\echo :SQLSTATE
SELECT pgflow_snapshot('s', tables => '{s_t}', filter => '');
\echo :SQLSTATE
SELECT pgflow_snapshot('s', tables => '{s_t}', filter => 'id IN (SELECT id FROM s_other)');
\echo :SQLSTATE
SELECT pgflow_snapshot('s', tables => '{s_t}', filter => 'true ORDER BY 1');
\echo :SQLSTATE
SELECT pgflow_snapshot('s', tables => '{s_t}', filter => 'true; DROP TABLE s_t');
\echo :SQLSTATE
SELECT pgflow_snapshot('s', tables => '{s_t}', filter => 'sum(amount) > 1');
\echo :SQLSTATE
\set ON_ERROR_ROLLBACK off
ROLLBACK;

DROP TABLE s_t, s_other, s_parts;
DROP EXTENSION pgbraid;
