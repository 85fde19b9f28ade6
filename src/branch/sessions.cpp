#include "branch/sessions.h"

#include "branch/process.h"
#include "pg/spi.h"
#include "worker/pause.h"

extern "C" {
#include "miscadmin.h"
#include "utils/timestamp.h"
}

#include <vector>

namespace pgbraid::branch {

namespace {

using namespace pg::spi;

constexpr int64 patience = 5 * USECS_PER_SEC; // with who has been told to end

// Those who were there at the switch: who connects afterwards does so by the new name, and may stay. Walsenders and
// background processes have ways of their own.
#define THOSE                                                                                                          \
	" FROM pg_catalog.pg_stat_activity WHERE datid = $1 AND pid::text || ' ' || backend_start::text = ANY ($2) "

class Those {
public:
	Those(Oid database, const char *kinds) : database_(database)
	{
		read("SELECT pid::text || ' ' || backend_start::text FROM pg_catalog.pg_stat_activity "
			 " WHERE datid = $1 AND backend_type = ANY (pg_catalog.string_to_array($2, ',')) AND pid <> $3",
			 kinds);
	}
	int64 end_idle() const
	{
		return count("SELECT count(pg_catalog.pg_terminate_backend(pid))" THOSE "AND state = 'idle'");
	}
	int64 end_all() const { return count("SELECT count(pg_catalog.pg_terminate_backend(pid))" THOSE); }
	int64 left() const { return count("SELECT count(*)" THOSE); }

private:
	void read(const char *query, const char *kinds)
	{
		(void) pg::attempt("looking at sessions", [&] {
			each(query, {oid(database_), text(kinds), bigint(current().client)},
				 [&](const Row &row) { those_.push_back(row.text(1)); });
		});
	}
	int64 count(const char *query) const
	{
		int64 found = 0;
		if (those_.empty())
			return found;
		std::vector<const char *> those;
		for (const std::string &one : those_)
			those.push_back(one.c_str());
		(void) pg::attempt("looking at sessions", [&] {
			each(query, {oid(database_), texts(those)}, [&](const Row &row) { found = row.bigint(1); });
		});
		return found;
	}

	Oid database_;
	std::vector<std::string> those_;
};

// Longer each time: sessions that are idle end within a millisecond or two.
class Naps {
public:
	void take()
	{
		nap(milliseconds_);
		milliseconds_ = Min(milliseconds_ * 2, 20);
	}

private:
	long milliseconds_ = 1;
};

} // namespace

std::string settle_sessions(const Request &request, Oid database, const std::string &branch)
{
	const Those those(database, "client backend");
	const TimestampTz deadline = GetCurrentTimestamp() + (int64) request.deadline_ms * 1000;
	if (request.sessions != Sessions::keep)
		(void) those.end_idle();
	Naps naps;
	while (request.sessions == Sessions::terminate && those.left() > 0 && GetCurrentTimestamp() < deadline + patience) {
		naps.take();
		(void) (GetCurrentTimestamp() >= deadline ? those.end_all() : those.end_idle());
	}
	std::string said;
	if (int64 left = those.left(); left > 0)
		said = std::to_string(left) + " sessions stay on what was branch \"" + branch + "\"";
	if (current().client_database == database)
		said += (said.empty() ? "this session stays on what was branch \"" + branch + "\""
							  : std::string(", and this one")) +
				" until it reconnects";
	return said;
}

void refuse_sessions(const Request &request, Oid database, const std::string &name)
{
	if (request.is_forced)
		return;
	std::string pids;
	each("SELECT string_agg(pid::text, ', ' ORDER BY pid) FROM pg_catalog.pg_stat_activity "
		 " WHERE datid = $1 AND backend_type IN ('client backend', 'walsender')",
		 {oid(database)}, [&](const Row &row) { pids = row.text(1); });
	if (!pids.empty())
		throw pg::Failure({.sqlstate = "55006",
						   .message = "sessions are connected to \"" + name + "\"",
						   .detail = "Processes: " + pids + ".",
						   .hint = "End them, or repeat with force."});
}

void end_sessions(Oid database)
{
	worker::evict(database);
	const Those those(database, "client backend,walsender");
	Naps naps;
	for (TimestampTz until = GetCurrentTimestamp() + patience; those.end_all() > 0 && GetCurrentTimestamp() < until;)
		naps.take();
}

} // namespace pgbraid::branch
