#include "catalog/dispatch.h"

#include "pg/spi.h"

extern "C" {
#include "catalog/pg_type_d.h"
#include "miscadmin.h"
}

#include <algorithm>
#include <tuple>

namespace pgbraid::catalog {

namespace {

using namespace pg::spi;

constinit Statement select_dispatched{
	"SELECT EXISTS (SELECT FROM pgbraid.jobs j WHERE j.handler IN ('nats', 'webhook') "
	"AND j.home = (SELECT pgbraid.here()))",
	Statement::Scan::plain};

constinit Statement select_offered_jobs{
	"SELECT j.id, coalesce(j.options->>'server', ''), "
	"       CASE WHEN j.options ? 'server' THEN j.owner::oid ELSE 0 END, "
	"       s.oid IS NULL OR has_server_privilege(j.owner::oid, s.oid, 'USAGE') "
	"  FROM pgbraid.jobs j LEFT JOIN pg_foreign_server s ON s.srvname = j.options->>'server' "
	" WHERE j.handler = 'nats' AND j.home = (SELECT pgbraid.here())"};

#define OFFERED "o.id, o.job, o.subject, o.offer, o.patience, o.priority, o.run_at"

constinit Statement update_offered{
	"SELECT " OFFERED " FROM ("
	"    SELECT r.id FROM pgbraid.job_runs r "
	"     WHERE r.state = 'ready' AND r.handler = 'nats' AND r.job <> ALL ($2) AND r.id <> ALL ($1) "
	"       AND (SELECT j.handler = 'nats' AND j.home = (SELECT pgbraid.here()) FROM pgbraid.jobs j WHERE j.id = "
	"r.job) "
	"     ORDER BY r.priority DESC, r.run_at, r.id LIMIT $3 FOR UPDATE OF r SKIP LOCKED) next, "
	"       LATERAL pgbraid.offer_run(next.id) o"};

constinit Statement update_offered_of_each{
	"SELECT " OFFERED " FROM unnest($1) quiet(job), LATERAL ("
	"        SELECT r.id FROM pgbraid.job_runs r WHERE r.job = quiet.job AND r.state = 'ready' AND r.handler = 'nats' "
	"         ORDER BY r.priority DESC, r.run_at, r.id LIMIT 1 FOR UPDATE SKIP LOCKED) next, "
	"       LATERAL pgbraid.offer_run(next.id) o"};

constinit Statement select_held{"SELECT r.id, r.job, r.token FROM pgbraid.job_runs r "
								" WHERE r.state = 'running' AND r.handler = 'nats' AND r.token IS NOT NULL"};

constinit Statement select_still_held{
	"SELECT r.id, r.job, r.token FROM pgbraid.job_runs r "
	" WHERE r.id = ANY ($1) AND r.state || '' = 'running' AND NOT r.cancel_requested AND r.token IS NOT NULL"};

constinit Statement select_answers{
	"SELECT said.number, a.reply, a.kind, coalesce(a.run, 0), coalesce(a.job, 0), coalesce(a.token, "
	"'00000000-0000-0000-0000-000000000000') "
	"  FROM unnest($1) WITH ORDINALITY said(message, number), LATERAL pgbraid.job_message(said.message) a"};

constinit Statement update_sent{
	"SELECT s.id, s.token, s.url, s.body, s.secret, s.permitted, s.attempt, s.timeout FROM ("
	"    SELECT r.id FROM pgbraid.job_runs r "
	"     WHERE r.state = 'ready' AND r.handler = 'webhook' "
	"       AND (SELECT j.handler = 'webhook' AND j.home = (SELECT pgbraid.here()) FROM pgbraid.jobs j "
	"             WHERE j.id = r.job) "
	"     ORDER BY r.priority DESC, r.run_at, r.id LIMIT $1 FOR UPDATE OF r SKIP LOCKED) next, "
	"       LATERAL pgbraid.send_run(next.id, $2, $3::integer) s"};

constinit Statement update_outcome{
	"UPDATE pgbraid.job_runs r "
	"   SET state = CASE WHEN $3 = '' AND $4 = '' THEN 'succeeded' ELSE 'failed' END, finished_at = clock_timestamp(), "
	"       sqlstate = nullif($3, ''), error = nullif($4, ''), reason = nullif($5, ''), output = $6, "
	"       deadline_at = NULL, lease_until = NULL "
	" WHERE r.id = $1 AND r.token = $2 AND r.state || '' = 'running' AND NOT r.cancel_requested"};

constinit Statement update_unofferable{
	"UPDATE pgbraid.job_runs r SET state = 'failed', finished_at = clock_timestamp(), sqlstate = $2, error = $3, "
	"       deadline_at = NULL WHERE r.id = $1 AND r.state || '' = 'ready'"};

constinit Statement update_given_up{
	"UPDATE pgbraid.job_runs r SET state = 'lost', reason = 'the dispatcher that sent it is gone', "
	"       finished_at = clock_timestamp(), deadline_at = NULL, lease_until = NULL "
	" WHERE r.state = 'running' AND r.handler = 'webhook'"};

OfferedRun offered_from(const Row &row)
{
	return {.id = row.bigint(1),
			.job = row.bigint(2),
			.subject = row.text(3),
			.offer = row.text(4),
			.patience = row.bigint(5),
			.priority = row.integer(6),
			.run_at = row.timestamp(7)};
}

void put_in_order(std::vector<OfferedRun> &runs)
{
	std::sort(runs.begin(), runs.end(), [](const OfferedRun &a, const OfferedRun &b) {
		return std::tuple(-a.priority, a.run_at, a.id) < std::tuple(-b.priority, b.run_at, b.id);
	});
}

} // namespace

bool has_dispatched_jobs()
{
	bool any = false;
	select_dispatched.each({}, [&](const Row &row) { any = row.boolean(1); });
	return any;
}

std::vector<OfferedJob> read_offered_jobs()
{
	std::vector<OfferedJob> jobs;
	select_offered_jobs.each({}, [&](const Row &row) {
		jobs.push_back({row.bigint(1), row.text(2), row.oid(3), row.boolean(4)});
	});
	return jobs;
}

std::vector<OfferedRun> offer_runs(std::span<const int64> but_runs, std::span<const int64> but_jobs, int64 most)
{
	std::vector<OfferedRun> runs;
	update_offered.each({bigints(but_runs), bigints(but_jobs), bigint(most)},
						[&](const Row &row) { runs.push_back(offered_from(row)); });
	put_in_order(runs);
	return runs;
}

std::vector<OfferedRun> offer_one_of_each(std::span<const int64> jobs)
{
	std::vector<OfferedRun> runs;
	update_offered_of_each.each({bigints(jobs)}, [&](const Row &row) { runs.push_back(offered_from(row)); });
	put_in_order(runs);
	return runs;
}

std::vector<HeldRun> read_held_runs()
{
	std::vector<HeldRun> runs;
	select_held.each({}, [&](const Row &row) { runs.push_back({row.bigint(1), row.bigint(2), row.uuid(3)}); });
	return runs;
}

std::vector<HeldRun> still_held(std::span<const int64> ids)
{
	std::vector<HeldRun> runs;
	select_still_held.each({bigints(ids)}, [&](const Row &row) {
		runs.push_back({row.bigint(1), row.bigint(2), row.uuid(3)});
	});
	return runs;
}

std::vector<Answered> answer_messages(std::span<const char *const> messages)
{
	std::vector<Answered> answers;
	select_answers.each({texts(messages)}, [&](const Row &row) {
		answers.push_back({.number = row.bigint(1),
						   .reply = row.text(2),
						   .kind = row.text(3),
						   .run = row.bigint(4),
						   .job = row.bigint(5),
						   .token = row.uuid(6)});
	});
	return answers;
}

std::vector<WebhookRun> take_webhooks(const char *worker, int64 most)
{
	std::vector<WebhookRun> runs;
	update_sent.each({bigint(most), text(worker), bigint(MyProcPid)}, [&](const Row &row) {
		runs.push_back({.id = row.bigint(1),
						.token = row.uuid(2),
						.url = row.text(3),
						.body = row.text(4),
						.secret = row.text(5),
						.is_permitted = row.boolean(6),
						.attempt = row.integer(7),
						.timeout = row.bigint(8)});
	});
	return runs;
}

void note_outcome(const RunOutcome &outcome)
{
	update_outcome.execute({bigint(outcome.id), uuid(outcome.token), text(outcome.sqlstate), text(outcome.error),
							text(outcome.reason), outcome.output ? text(*outcome.output) : null(TEXTOID)});
}

void fail_ready(int64 run, const std::string &sqlstate, const std::string &error)
{
	update_unofferable.execute({bigint(run), text(sqlstate), text(error)});
}

uint64 give_up_webhooks()
{
	return update_given_up.execute();
}

} // namespace pgbraid::catalog
