#include "branch/sessions.h"

#include "pg/spi.h"
#include "worker/pause.h"

extern "C" {
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
}

namespace pgbraid::branch {

namespace {

using namespace pg::spi;

// Walsenders and background processes have ways of their own.
#define CLIENTS " FROM pg_catalog.pg_stat_activity WHERE datid = $1 AND backend_type = 'client backend' AND pid <> $2 "

int64 count(const char *query, Oid database, int client)
{
	int64 found = 0;
	(void) pg::attempt("looking at sessions", [&] {
		each(query, {oid(database), bigint(client)}, [&](const Row &row) { found = row.bigint(1); });
	});
	return found;
}

int64 end_idle(Oid database, int client)
{
	return count("SELECT count(pg_catalog.pg_terminate_backend(pid))" CLIENTS "AND state = 'idle'", database, client);
}

int64 end_all(Oid database, int client)
{
	return count("SELECT count(pg_catalog.pg_terminate_backend(pid))" CLIENTS, database, client);
}

int64 count_left(Oid database, int client)
{
	return count("SELECT count(*)" CLIENTS, database, client);
}

bool is_there(Oid database, int client)
{
	return count("SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE datid = $1 AND pid = $2", database, client) >
		   0;
}

void nap()
{
	check_cancelled();
	pg::call([] {
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 20, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	});
}

} // namespace

std::string settle_sessions(const Request &request, Oid database, const std::string &branch)
{
	int client = current().client;
	TimestampTz deadline = GetCurrentTimestamp() + (int64) request.deadline_ms * 1000;
	if (request.sessions != Sessions::keep)
		(void) end_idle(database, client);
	while (request.sessions == Sessions::terminate && count_left(database, client) > 0) {
		nap();
		(void) (GetCurrentTimestamp() >= deadline ? end_all(database, client) : end_idle(database, client));
	}
	std::string said;
	if (int64 left = count_left(database, client); left > 0)
		said = std::to_string(left) + " sessions stay on branch \"" + branch + "\"";
	if (is_there(database, client))
		said += (said.empty() ? "this session stays on branch \"" + branch + "\"" : std::string(", and this one")) +
				" until it reconnects";
	return said;
}

void refuse_sessions(const Request &request, Oid database)
{
	if (request.is_forced)
		return;
	std::string pids;
	each("SELECT string_agg(pid::text, ', ' ORDER BY pid) FROM pg_catalog.pg_stat_activity "
		 " WHERE datid = $1 AND backend_type IN ('client backend', 'walsender')",
		 {oid(database)}, [&](const Row &row) { pids = row.text(1); });
	if (!pids.empty())
		throw pg::Failure({.sqlstate = "55006",
						   .message = "sessions are connected to it",
						   .detail = "Processes: " + pids + ".",
						   .hint = "End them, or repeat with force."});
}

void end_sessions(Oid database)
{
	worker::evict(database);
	while (end_all(database, current().client) > 0)
		nap();
}

} // namespace pgbraid::branch
