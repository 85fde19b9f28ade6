// Triggers of pgbraid.jobs and pgbraid.job_runs: who is to be woken when the transaction commits.
#include "pg/boundary.h"
#include "pg/spi.h"
#include "worker/commit.h"
#include "worker/registry.h"

extern "C" {
#include "commands/async.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rel.h"
}

#include <string_view>

namespace pgbraid::job {

namespace {

constexpr const char *channel = "pgbraid_jobs";

// Trivial, since PostgreSQL's errors may pass it.
class RunRow {
public:
	RunRow(const TriggerData *data, HeapTuple tuple) : tuple_(tuple), description_(data->tg_relation->rd_att) {}
	explicit RunRow(const TriggerData *data)
		: RunRow(data, TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? data->tg_newtuple : data->tg_trigtuple)
	{
	}
	Datum value(const char *column, bool *is_null) const
	{
		return SPI_getbinval(tuple_, description_, SPI_fnumber(description_, column), is_null);
	}
	std::string_view word(const char *column) const
	{
		bool is_null;
		const auto *said = DatumGetTextPP(value(column, &is_null));
		return {VARDATA_ANY(said), VARSIZE_ANY_EXHDR(said)};
	}
	bool has(const char *column) const
	{
		bool is_null;
		(void) value(column, &is_null);
		return !is_null;
	}
	bool is_true(const char *column) const
	{
		bool is_null;
		return DatumGetBool(value(column, &is_null));
	}
	int64 number(const char *column) const
	{
		bool is_null;
		return DatumGetInt64(value(column, &is_null));
	}

private:
	HeapTuple tuple_;
	TupleDesc description_;
};

void tell_claimers(const RunRow &run)
{
	worker::note_claimable_run();
	char job[24];
	snprintf(job, sizeof job, INT64_FORMAT, run.number("job"));
	Async_Notify(channel, job);
}

void note(const RunRow &run)
{
	std::string_view state = run.word("state"), handler = run.word("handler");
	if (state == "running" && handler == "sql" && run.is_true("cancel_requested"))
		worker::note_interrupt(run.number("id"));
	bool is_timed = run.has("deadline_at") || run.has("lease_until");
	if (state == "ready") {
		if (handler == "sql")
			worker::note_ready_command();
		else if (handler == "claim")
			tell_claimers(run);
		else
			worker::note_offerable_run();
		if (is_timed)
			worker::note_scheduled_run();
	} else if (state == "running" && is_timed) {
		worker::note_timed_run();
	} else if (state == "waiting" || (state != "running" && run.is_true("limited"))) {
		worker::note_scheduled_run();
	}
	if ((handler == "nats" || handler == "webhook") && (state == "cancelled" || state == "failed" || state == "lost"))
		worker::note_withdrawn_run();
}

bool has_ended(std::string_view state)
{
	return state != "waiting" && state != "ready" && state != "running";
}

// Whoever ends a run need not have the rights for what that leads to.
class AsOwner {
public:
	explicit AsOwner(Relation table)
	{
		GetUserIdAndSecContext(&user_, &context_);
		SetUserIdAndSecContext(table->rd_rel->relowner, context_ | SECURITY_LOCAL_USERID_CHANGE);
	}
	~AsOwner() { SetUserIdAndSecContext(user_, context_); }
	AsOwner(const AsOwner &) = delete;
	AsOwner &operator=(const AsOwner &) = delete;

private:
	Oid user_;
	int context_;
};

// Read under the search_path of the caller, and run as the owner: no operator may be looked up.
constinit pg::spi::Statement select_awaited{
	"SELECT EXISTS (SELECT FROM pgbraid.job_dependencies d WHERE d.upstream OPERATOR(pg_catalog.=) $1) "
	"    OR EXISTS (SELECT FROM pgbraid.job_progress p WHERE p.job OPERATOR(pg_catalog.=) $1 "
	"                  AND p.failures OPERATOR(pg_catalog.>) 0)"};
constinit pg::spi::Statement call_run_ended{"SELECT pgbraid.run_ended($1)"};

// Most runs succeed and nobody waits for that.
bool leads_to_something(const RunRow &run, std::string_view state)
{
	bool is_awaited = state != "succeeded";
	if (!is_awaited)
		select_awaited.each({pg::spi::bigint(run.number("job"))},
							[&](const pg::spi::Row &row) { is_awaited = row.boolean(1); });
	return is_awaited;
}

void follow_up(const TriggerData *data, const RunRow &run)
{
	std::string_view state = run.word("state");
	if (!TRIGGER_FIRED_BY_UPDATE(data->tg_event) || !has_ended(state) ||
		has_ended(RunRow(data, data->tg_trigtuple).word("state")))
		return;
	AsOwner owner(data->tg_relation);
	pg::call([] { SPI_connect(); });
	if (leads_to_something(run, state))
		call_run_ended.execute({pg::spi::bigint(run.number("id"))});
	pg::call([] { SPI_finish(); });
}

} // namespace

} // namespace pgbraid::job

PGBRAID_FUNCTION(pgbraid_job_changed)
{
	if (pgbraid::worker::is_preloaded())
		pgbraid::worker::note_job_change();
	return PointerGetDatum(nullptr);
}

PGBRAID_FUNCTION(pgbraid_run_changed)
{
	using namespace pgbraid;
	const auto *data = reinterpret_cast<const TriggerData *>(fcinfo->context);
	const job::RunRow run(data);
	if (worker::is_preloaded())
		pg::call([&] { job::note(run); });
	job::follow_up(data, run);
	return PointerGetDatum(nullptr);
}
