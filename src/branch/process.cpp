// The process that does what a session has asked for.
#include "worker/process.h"
#include "branch/gate.h"
#include "branch/verbs.h"

extern "C" {
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
}

namespace pgbraid::branch {

namespace {

Outcome carry_out(const Request &request)
{
	switch (request.verb) {
		case Verb::init: return init(request);
		case Verb::snapshot: return take_snapshot(request);
		case Verb::create: return create(request);
		case Verb::checkout: return checkout(request);
		case Verb::reset: return reset(request);
		case Verb::drop: return drop(request);
		case Verb::undo: return undo(request);
		case Verb::rename: return rename(request);
		case Verb::protect:
		case Verb::unprotect: return set_protection(request);
		case Verb::describe: return describe(request);
		case Verb::set_spares: return set_spares(request);
		case Verb::spare: return make_spare(request);
	}
	return {};
}

void run()
{
	Outcome outcome;
	std::optional<pg::Caught> trouble;
	try {
		outcome = carry_out(current().request);
	} catch (const pg::Failure &failure) {
		trouble = pg::detail::copy(failure);
	} catch (const pg::Error &error) {
		trouble = pg::detail::copy(error);
	}
	finish(outcome.database, trouble, outcome.notice.c_str());
}

} // namespace

} // namespace pgbraid::branch

PGBRAID_EXPORT void pgbraid_branch_main(Datum argument)
{
	using namespace pgbraid;
	worker::unblock_signals();
	branch::Operation &operation = branch::begin(argument);
	BackgroundWorkerInitializeConnectionByOid(operation.request.connect, InvalidOid, BGWORKER_BYPASS_ALLOWCONN);
	worker::pin_settings();
	branch::exempt_from_gate();
	pg::enter(branch::run);
}
