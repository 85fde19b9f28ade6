// Looks after what operations leave: copies that a crash has cut short, databases in the trash whose time has come,
// snapshots that want more spares. The launcher starts it when there may be something to do; it leaves when that is
// done, and says when it is wanted again.
#include "branch/client.h"
#include "branch/copy.h"
#include "catalog/branches.h"
#include "pg/transaction.h"
#include "settings/settings.h"
#include "worker/process.h"

extern "C" {
#include "miscadmin.h"
#include "utils/timestamp.h"
}

#include <algorithm>

namespace pgbraid::branch {

namespace {

constexpr int64 look_again = 2 * USECS_PER_SEC;
constexpr int64 try_again = 30 * USECS_PER_SEC;

class Keeper {
public:
	void run()
	{
		worker::set_state(worker::State::running);
		const uint32 touched = pg_atomic_read_u32(&worker::self().touched);
		remove_incomplete();
		empty_trash();
		fill_spares();
		if (next_ != PG_INT64_MAX)
			worker::want_keeper(next_);
		worker::retire(touched);
		worker::leave(worker::State::stopped);
	}

private:
	void come_back(TimestampTz at) { next_ = std::min(next_, at); }

	void remove(const catalog::Leftover &leftover, TimestampTz trashed_before)
	{
		try {
			remove_database(leftover.oid, trashed_before);
			ereport(LOG, (errmsg("database \"%s\" is removed", leftover.database.c_str())));
		} catch (const pg::Failure &failure) {
			ereport(LOG,
					(errmsg("database \"%s\" could not be removed: %s", leftover.database.c_str(), failure.what())));
			come_back(GetCurrentTimestamp() + try_again);
		}
	}

	void remove_incomplete()
	{
		std::vector<catalog::Leftover> found;
		bool is_busy = is_any_at_work(); // asked first: what begins after it is not read below as a leftover
		pg::transact("looking for what is left of copies", [&] { found = catalog::read_incomplete(); });
		if (found.empty())
			return;
		if (is_busy || is_any_at_work())
			come_back(GetCurrentTimestamp() + look_again);
		else
			for (const catalog::Leftover &leftover : found)
				remove(leftover, 0);
	}

	void empty_trash()
	{
		TimestampTz age = (TimestampTz) settings::branch_trash_age_s() * USECS_PER_SEC, oldest = 0;
		TimestampTz before = GetCurrentTimestamp() - age;
		std::vector<catalog::Leftover> found, excess;
		pg::transact("looking for trash", [&] {
			found = catalog::read_trash(before);
			excess = catalog::read_excess_spares();
		});
		for (const catalog::Leftover &leftover : found)
			remove(leftover, before);
		for (const catalog::Leftover &leftover : excess)
			remove(leftover, 0);
		pg::transact("looking for trash", [&] { oldest = catalog::oldest_trash(); });
		if (oldest != 0)
			come_back(std::max(oldest + age, GetCurrentTimestamp() + look_again));
	}

	// One at a time of each: the disk has other things to do.
	void fill_spares()
	{
		std::vector<catalog::MissingSpares> missing;
		pg::transact("counting spares", [&] { missing = catalog::read_missing_spares(); });
		if (missing.empty())
			return;
		come_back(GetCurrentTimestamp() + try_again); // the end of each brings us back at once
		if (is_any_at_work())
			return;
		for (const catalog::MissingSpares &spares : missing)
			if (!perform_in_background(request_for(spares)))
				break;
	}

	static Request request_for(const catalog::MissingSpares &spares)
	{
		Request request{};
		request.verb = Verb::spare;
		request.database = request.connect = spares.snapshot;
		request.role = spares.owner;
		strlcpy(request.name, spares.name.c_str(), sizeof request.name);
		request.timeout_ms = 60 * 1000;
		request.gate_timeout_ms = 1000;
		return request;
	}

	TimestampTz next_ = PG_INT64_MAX;
};

void keep()
{
	Keeper keeper;
	keeper.run();
}

} // namespace

} // namespace pgbraid::branch

PGBRAID_EXPORT void pgbraid_keeper_main(Datum argument)
{
	pgbraid::worker::attach(argument);
	pgbraid::pg::enter(pgbraid::branch::keep);
}
