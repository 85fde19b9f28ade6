#include "catalog/runs.h"

#include "pg/spi.h"

extern "C" {
#include "catalog/pg_type_d.h"
#include "miscadmin.h"
}

namespace pgbraid::catalog {

namespace {

using namespace pg::spi;

constexpr char separator = '\x01'; // of settings, in one text

// pg_db_role_setting: what is set for a role in a database counts more than what is set for the role, and that more
// than what is set for the database.
constinit Statement update_claimed{
	"WITH next AS MATERIALIZED ("
	"    SELECT r.id FROM pgbraid.job_runs r "
	"     WHERE r.state = 'ready' AND r.handler = 'sql' "
	"       AND EXISTS (SELECT FROM pgbraid.jobs j WHERE j.id = r.job AND j.home = (SELECT pgbraid.here())) "
	"     ORDER BY r.priority DESC, r.run_at, r.id LIMIT 1 FOR UPDATE OF r SKIP LOCKED) "
	"UPDATE pgbraid.job_runs r "
	"   SET state = 'running', token = gen_random_uuid(), worker = $1, pid = $2::integer, pickups = r.pickups + 1, "
	"       picked_at = clock_timestamp(), started_at = clock_timestamp(), deadline_at = NULL, "
	"       liveness = CASE WHEN j.database IS NULL AND coalesce(j.options->>'transaction', 'true') = 'true' "
	"                       THEN 'transaction' ELSE 'lock' END "
	"  FROM next, pgbraid.jobs j "
	" WHERE r.id = next.id AND j.id = r.job "
	"RETURNING r.id, r.token, j.job, j.command, j.run_as::oid, "
	"          EXISTS (SELECT FROM pg_authid a WHERE a.oid = j.run_as::oid), "
	"          pg_has_role(j.owner::oid, j.run_as::oid, 'MEMBER'), r.payload, r.attempt, r.due_at, "
	"          coalesce(extract(epoch FROM j.timeout) * 1000000, 0)::bigint, j.database, r.liveness = 'transaction', "
	"          (SELECT string_agg(said, E'\\x01' ORDER BY s.setrole <> 0, s.setdatabase <> 0) "
	"             FROM pg_db_role_setting s, unnest(s.setconfig) said "
	"            WHERE s.setrole IN (0, j.run_as::oid) "
	"              AND s.setdatabase IN (0, (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))), "
	"          (SELECT string_agg(o.key || '=' || o.value, E'\\x01') FROM jsonb_each_text(j.options->'settings') o), "
	"j.id"};

constinit Statement update_completed{
	"UPDATE pgbraid.job_runs r "
	"   SET state = 'succeeded', started_at = $3, finished_at = clock_timestamp(), rows = $4, output = $5, log = "
	"nullif($6, '') "
	" WHERE r.id = $1 AND r.token = $2 AND r.state = 'running' AND NOT r.cancel_requested"};

constinit Statement update_failed{
	"UPDATE pgbraid.job_runs r "
	"   SET state = CASE WHEN r.cancel_requested THEN 'cancelled' ELSE 'failed' END, started_at = $3, "
	"       finished_at = clock_timestamp(), sqlstate = nullif($4, ''), error = nullif($5, ''), log = nullif($6, '') "
	" WHERE r.id = $1 AND r.token = $2 AND r.state = 'running'"};

constinit Statement update_put_off{
	"UPDATE pgbraid.job_runs r "
	"   SET state = 'waiting', run_at = clock_timestamp() + interval '1 s', reason = $3, token = NULL, pid = NULL "
	" WHERE r.id = $1 AND r.token = $2 AND r.state = 'running'"};

std::vector<Setting> settings_in(const std::string &text)
{
	std::vector<Setting> settings;
	for (size_t begin = 0; begin < text.size();) {
		size_t end = Min(text.find(separator, begin), text.size());
		std::string one = text.substr(begin, end - begin);
		if (size_t equals = one.find('='); equals != std::string::npos)
			settings.push_back({one.substr(0, equals), one.substr(equals + 1)});
		begin = end + 1;
	}
	return settings;
}

ClaimedRun run_from(const Row &row)
{
	return {.id = row.bigint(1),
			.job_id = row.bigint(16),
			.token = row.uuid(2),
			.job = row.text(3),
			.command = row.text(4),
			.run_as = row.oid(5),
			.role_exists = row.boolean(6),
			.is_permitted = row.boolean(7),
			.payload = row.is_null(8) ? std::nullopt : std::optional{row.text(8)},
			.attempt = row.integer(9),
			.due_at = row.timestamp(10),
			.timeout = row.bigint(11),
			.database = row.text(12),
			.in_transaction = row.boolean(13),
			.role_settings = settings_in(row.text(14)),
			.settings = settings_in(row.text(15))};
}

} // namespace

std::optional<ClaimedRun> claim_command(const char *worker)
{
	std::optional<ClaimedRun> run;
	update_claimed.each({text(worker), bigint(MyProcPid)}, [&](const Row &row) { run = run_from(row); });
	return run;
}

bool complete_run(const ClaimedRun &run, const RunEnd &end)
{
	return update_completed.execute({bigint(run.id), uuid(run.token), timestamp(end.started_at),
									 end.rows ? bigint(*end.rows) : null(INT8OID),
									 end.output ? text(*end.output) : null(TEXTOID), text(end.log)}) > 0;
}

bool fail_run(const ClaimedRun &run, const RunEnd &end)
{
	return update_failed.execute({bigint(run.id), uuid(run.token), timestamp(end.started_at), text(end.sqlstate),
								  text(end.error), text(end.log)}) > 0;
}

void put_off(const ClaimedRun &run, const char *reason)
{
	update_put_off.execute({bigint(run.id), uuid(run.token), text(reason)});
}

} // namespace pgbraid::catalog
