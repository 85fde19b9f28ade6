#include "catalog/runs.h"

#include "pg/spi.h"

extern "C" {
#include "access/transam.h"
#include "catalog/pg_type_d.h"
#include "miscadmin.h"
}

#include <unordered_map>

namespace pgbraid::catalog {

namespace {

using namespace pg::spi;

constexpr size_t most_known = 10'000;
constexpr char separator = '\x01'; // of settings, in one text

constinit Statement select_here{"SELECT pgbraid.here()"};

// What is the same of both ways to find the next run. What the job wants is read once for each version of its row.
#define READY_RUN                                                                                                      \
	"SELECT r.id FROM pgbraid.job_runs r WHERE r.state = 'ready' AND r.handler = 'sql' "                               \
	"AND EXISTS (SELECT FROM pgbraid.jobs j WHERE j.id = r.job AND j.home = $3) "
#define FIRST_OF_THEM "ORDER BY r.priority DESC, r.run_at, r.id LIMIT 1 FOR UPDATE OF r SKIP LOCKED"
#define TAKE_NEXT                                                                                                      \
	"UPDATE pgbraid.job_runs r "                                                                                       \
	"   SET state = 'running', token = gen_random_uuid(), worker = $1, pid = $2::integer, pickups = r.pickups + 1, "   \
	"       picked_at = clock_timestamp(), started_at = clock_timestamp(), deadline_at = NULL, "                       \
	"       liveness = CASE WHEN j.database IS NULL AND coalesce(j.options->>'transaction', 'true') = 'true' "         \
	"                       THEN 'transaction' ELSE 'executor' END "                                                   \
	"  FROM next, pgbraid.jobs j "                                                                                     \
	" WHERE r.id = next.id AND j.id = r.job "                                                                          \
	"RETURNING r.id, r.token, r.payload, r.attempt, r.due_at, r.job, j.xmin, r.priority, r.run_at"

constinit Statement claim_first{"WITH next AS MATERIALIZED (" READY_RUN FIRST_OF_THEM ") " TAKE_NEXT};

// Of a greater priority than that of $4, or behind ($5, $6): the index does not lead through the entries of all runs
// that have been taken before.
constinit Statement claim_behind{"WITH next AS MATERIALIZED ("
								 "    SELECT a.id FROM (" READY_RUN "AND r.priority > $4 " FIRST_OF_THEM ") a "
								 "    UNION ALL "
								 "    SELECT b.id FROM (" READY_RUN
								 "AND r.priority = $4 AND (r.run_at, r.id) > ($5, $6) " FIRST_OF_THEM ") b "
								 "    LIMIT 1) " TAKE_NEXT};

#undef READY_RUN
#undef FIRST_OF_THEM
#undef TAKE_NEXT

constinit Statement select_work{
	"SELECT j.job, j.command, j.owner::oid, j.run_as::oid, coalesce(extract(epoch FROM j.timeout) * 1000000, "
	"0)::bigint, "
	"       j.database, j.database IS NULL AND coalesce(j.options->>'transaction', 'true') = 'true', "
	"       (SELECT string_agg(o.key || '=' || o.value, E'\\x01') FROM jsonb_each_text(j.options->'settings') o) "
	"  FROM pgbraid.jobs j WHERE j.id = $1"};

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

std::shared_ptr<const Work> read_work(int64 job)
{
	std::shared_ptr<const Work> work;
	select_work.each({bigint(job)}, [&](const Row &row) {
		work = std::make_shared<const Work>(Work{.job = row.text(1),
												 .command = row.text(2),
												 .owner = row.oid(3),
												 .run_as = row.oid(4),
												 .timeout = row.bigint(5),
												 .database = row.text(6),
												 .in_transaction = row.boolean(7),
												 .settings = settings_in(row.text(8))});
	});
	return work;
}

// A row of pgbraid.jobs that was changed has another xmin.
std::shared_ptr<const Work> work_of(int64 job, TransactionId version)
{
	struct Known {
		TransactionId version;
		std::shared_ptr<const Work> work;
	};
	static auto &all = *new std::unordered_map<int64, Known>;
	auto known = all.find(job);
	if (known != all.end() && known->second.version == version)
		return known->second.work;
	if (all.size() >= most_known)
		all.clear();
	auto work = read_work(job);
	if (!work) // dropped since the run was taken
		throw pg::Failure({.sqlstate = "40001", .message = "the job of the run is gone"});
	all.insert_or_assign(job, Known{version, work});
	return work;
}

const std::string &here()
{
	static auto &name = *new std::string;
	if (name.empty())
		select_here.each({}, [](const Row &row) { name = row.text(1); });
	return name;
}

// Where the last run was found.
struct Front {
	int64 priority;
	TimestampTz run_at;
	int64 id;
	int looks_behind; // since all of them were looked at
};
constinit std::optional<Front> front;
constexpr int most_looks_behind = 32; // runs that came before the front later are found after so many others

ClaimedRun run_from(const Row &row, int64 &job, TransactionId &version)
{
	job = row.bigint(6);
	version = row.oid(7);
	front = {row.integer(8), row.timestamp(9), row.bigint(1), front ? front->looks_behind : 0};
	return {.id = row.bigint(1),
			.token = row.uuid(2),
			.work = nullptr,
			.payload = row.is_null(3) ? std::nullopt : std::optional{row.text(3)},
			.attempt = row.integer(4),
			.due_at = row.timestamp(5)};
}

} // namespace

std::optional<ClaimedRun> claim_command(const char *worker)
{
	std::optional<ClaimedRun> run;
	int64 job = 0;
	TransactionId version = InvalidTransactionId;
	auto take = [&](const Row &row) { run = run_from(row, job, version); };
	if (front && front->looks_behind++ < most_looks_behind)
		claim_behind.each({text(worker), bigint(MyProcPid), text(here()), bigint(front->priority),
						   timestamp(front->run_at), bigint(front->id)},
						  take);
	if (!run) {
		front.reset();
		claim_first.each({text(worker), bigint(MyProcPid), text(here())}, take);
	}
	if (run)
		run->work = work_of(job, version);
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
