-- Definitions of jobs: what is refused and why, and what a definition means. Nothing runs here: the jobs are disabled.
CREATE EXTENSION pgbraid;
\set SHOW_CONTEXT never
\pset format unaligned
\pset footer off
\set on 'enabled => false'

-- A schedule.
SELECT pgjob_create('x', '0 25 * * *', 'SELECT 1');
SELECT pgjob_create('x', '0 0 30 2', 'SELECT 1');
SELECT pgjob_create('x', '@daily', 'SELECT 1', time_zone => 'Europe/Atlantis');
SELECT pgjob_create('', '@daily', 'SELECT 1');
SELECT pgjob_create(repeat('x', 201), '@daily', 'SELECT 1');

-- A handler.
SELECT pgjob_create('x', '@daily', 'SELECT 1', subject => 'a.b');
SELECT pgjob_create('x', '@daily', database => 'elsewhere');

-- Policies and limits.
SELECT pgjob_create('x', '@daily', 'SELECT 1', overlap => 'often');
SELECT pgjob_create('x', '@daily', 'SELECT 1', misfire => 'never');
SELECT pgjob_create('x', '@daily', 'SELECT 1', timeout => '0 s');
SELECT pgjob_create('x', '@daily', 'SELECT 1', retries => -1);
SELECT pgjob_create('x', '@daily', 'SELECT 1', jitter => '-1 s');

-- Options.
SELECT pgjob_create('x', '@daily', 'SELECT 1', options => '{"colour": "red"}');
SELECT pgjob_create('x', '@daily', 'SELECT 1', options => '[]');
SELECT pgjob_create('x', '@daily', 'SELECT 1', options => '{"concurrency": 0}');
SELECT pgjob_create('x', '@daily', 'SELECT 1', options => '{"concurrency": "2"}');
SELECT pgjob_create('x', '@daily', 'SELECT 1', options => '{"grace": "soon"}');
SELECT pgjob_create('x', '@daily', 'SELECT 1', options => '{"keep": "-1 d"}');
SELECT pgjob_create('x', '@daily', 'SELECT 1', options => '{"starts_at": "then"}');
SELECT pgjob_create('x', '@daily', 'SELECT 1', options => '{"dst_gap": "jump"}');
SELECT pgjob_create('x', '@daily', 'SELECT 1', options => '{"no_retry": ["2"]}');
SELECT pgjob_create('x', '@daily', 'SELECT 1', options => '{"settings": {"work_mem": 4}}');
SELECT pgjob_create('x', '@daily', 'SELECT 1', options => '{"group_concurrency": 1}');
SELECT pgjob_create('x', '@daily', 'SELECT 1', options => '{"after": "y"}');
SELECT pgjob_create('x', '@daily', 'SELECT 1', options => '{"after": {"y": "perhaps"}}');
SELECT count(*) FROM pgbraid.jobs;

-- The same again changes nothing; another definition is a new revision, and an older version is left alone.
SELECT pgjob_create('a', '@daily', 'SELECT 1', options => '{"version": 2}', :on) AS first \gset
SELECT pgjob_create('a', '@daily', 'SELECT 1', options => '{"version": 2}', :on) = :first AS same;
SELECT revision FROM pgbraid.jobs;
SELECT pgjob_create('a', '@hourly', 'SELECT 1', options => '{"version": 1}', :on) = :first AS same;
SELECT pgjob_create('a', '@hourly', 'SELECT 1', :on) = :first AS same;
SELECT schedule, revision FROM pgbraid.jobs;
SELECT pgjob_create('a', '@hourly', 'SELECT 1', options => '{"version": 3}', :on) = :first AS same;
SELECT schedule, revision FROM pgbraid.jobs;
SELECT pgjob_alter('a', overlap => 'skip', options => '{"priority": 5, "version": null}');
SELECT schedule, overlap, options, concurrency, priority, handler, revision FROM pgbraid.jobs;
SELECT pgjob_alter('a', misfire => 'perhaps');
SELECT pgjob_alter('b');

-- Chains are without cycles.
SELECT pgjob_create('b', NULL, 'SELECT 1', options => '{"after": "a"}') IS NOT NULL AS made;
SELECT pgjob_create('c', NULL, 'SELECT 1', options => '{"after": {"a": "failure", "b": "always"}}') IS NOT NULL AS made;
SELECT pgjob_alter('a', options => '{"after": ["c"]}');
SELECT pgjob_alter('b', options => '{"after": ["b"]}');
SELECT j.job, u.job AS upstream, d.outcome FROM pgbraid.job_dependencies d JOIN pgbraid.jobs j ON j.id = d.job JOIN pgbraid.jobs u ON u.id = d.upstream ORDER BY 1, 2;

-- Who is not there.
SELECT pgjob_run('nobody');
SELECT pgjob_cancel(12345);
SELECT pgjob_pause('nobody');
SELECT pgjob_drop('nobody');
SELECT pgjob_drop('nobody', if_exists => true);
SELECT pgjob_claim('{a}', '');
SELECT pgjob_heartbeat(12345, gen_random_uuid());
SELECT pgjob_complete(12345, '00000000-0000-0000-0000-000000000000');
SELECT pgjob_log(12345, '00000000-0000-0000-0000-000000000000', 'x');
SELECT pgjob_drop(job) FROM pgbraid.jobs;

-- Times.
SET timezone TO 'Europe/Berlin';
SET datestyle TO iso;
SELECT pgjob_next('30 2 * * *', '2026-03-28 12:00+01', 'Europe/Berlin', 3);
SELECT pgjob_next('30 2 * * *', '2026-03-28 12:00+01', 'Europe/Berlin', 3, '{"dst_gap": "skip"}');
SELECT pgjob_next('30 2 * * *', '2026-03-28 12:00+01', 'Europe/Berlin', 3, '{"dst_gap": "shift"}');
SELECT pgjob_next('30 2 * * *', '2026-10-24 12:00+02', 'Europe/Berlin', 3);
SELECT pgjob_next('30 2 * * *', '2026-10-24 12:00+02', 'Europe/Berlin', 3, '{"dst_overlap": "twice"}');
SELECT pgjob_next('*/30 * * * *', '2026-10-25 02:20+02', 'Europe/Berlin', 5);
SELECT pgjob_next('*/30 * * * *', '2026-10-25 02:20+02', 'Europe/Berlin', 5, '{"dst_overlap": "once"}');
SELECT pgjob_next('0 0 13 * 5', '2026-01-01', 'UTC', 2, '{"day_match": "and"}');
SELECT pgjob_next('@every 90s', '2026-01-01 00:00+00', 'UTC', 2);
SELECT pgjob_next('@at 2026-01-01 10:00:00', '2026-01-01 00:00+00', 'UTC', 2);
SELECT pgjob_next('@daily', count => 1, options => '{"jitter": 1}');
SELECT pgjob_describe('30 2 * * 1-5');
SELECT pgjob_describe('0 0 13 * 5', '{"day_match": "and"}');
SELECT pgjob_describe('@every 90s');

DROP EXTENSION pgbraid;
