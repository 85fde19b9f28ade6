// Triggers of pgbraid.jobs and pgbraid.job_runs: who is to be woken when the transaction commits.
#include "pg/boundary.h"
#include "worker/commit.h"
#include "worker/registry.h"

extern "C" {
#include "commands/async.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/builtins.h"
}

#include <string_view>

namespace pgbraid::job {

namespace {

constexpr const char *channel = "pgbraid_jobs";

// Trivial, since PostgreSQL's errors may pass it.
class NewRow {
public:
	explicit NewRow(const TriggerData *data)
		: tuple_(TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? data->tg_newtuple : data->tg_trigtuple),
		  description_(data->tg_relation->rd_att)
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

void tell_claimers(const NewRow &run)
{
	worker::note_claimable_run();
	char job[24];
	snprintf(job, sizeof job, INT64_FORMAT, run.number("job"));
	Async_Notify(channel, job);
}

void note(const NewRow &run)
{
	std::string_view state = run.word("state"), handler = run.word("handler");
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
	if (worker::is_preloaded())
		pg::call([&] { job::note(job::NewRow(reinterpret_cast<TriggerData *>(fcinfo->context))); });
	return PointerGetDatum(nullptr);
}

PGBRAID_FUNCTION(pgbraid_interrupt_executor)
{
	using namespace pgbraid;
	worker::require_preload();
	pg::call([&] { worker::note_interrupt(PG_GETARG_INT64(0)); });
	PG_RETURN_BOOL(true);
}
