// The background process of a flow.
#include "flow/source/session.h"
#include "pg/transaction.h"
#include "worker/process.h"

extern "C" {
#include "miscadmin.h"
#include "replication/slot.h"
#include "utils/guc.h"
}

namespace pgbraid::flow {

namespace {

Session *session = nullptr;

// FATAL runs no destructor: the publisher is stopped from here, whichever way the process leaves.
void stop_publisher()
{
	if (session != nullptr)
		session->stop_publisher();
}

// The slot is free before anybody hears that this process is gone: who comes next needs it.
void clean_up()
{
	stop_publisher();
	if (MyReplicationSlot != nullptr)
		ReplicationSlotRelease();
}

// What would change the text of values. docs/wire-format.md promises it.
void pin_settings()
{
	static constexpr struct {
		const char *name, *value;
	} pinned[] = {
		{"TimeZone", "UTC"},	 {"DateStyle", "ISO, MDY"},	  {"IntervalStyle", "postgres"},
		{"bytea_output", "hex"}, {"extra_float_digits", "1"}, {"search_path", "pg_catalog, pg_temp"},
	};
	pg::call([] {
		for (const auto &setting : pinned)
			SetConfigOption(setting.name, setting.value, PGC_USERSET, PGC_S_OVERRIDE);
	});
}

void run()
{
	worker::skip_exit_handlers();
	worker::at_exit(clean_up);
	pin_settings();
	auto flow = pg::in_transaction("reading pgbraid.flows", [] { return catalog::read_flow(worker::self().object); });
	if (!flow || !flow->shall_run())
		worker::leave(worker::State::stopped);
	Session running(std::move(*flow));
	session = &running;
	struct Leave { // an exception ends the session before the process
		~Leave() { stop_publisher(), session = nullptr; }
	} leave;
	running.run();
}

} // namespace

} // namespace pgbraid::flow

PGBRAID_EXPORT void pgbraid_flow_main(Datum argument)
{
	pgbraid::worker::attach(argument);
	pgbraid::pg::enter(pgbraid::flow::run);
}
