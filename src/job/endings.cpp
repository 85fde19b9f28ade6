#include "job/endings.h"

#include "worker/registry.h"

extern "C" {
#include "miscadmin.h"
}

namespace pgbraid::job {

namespace {

constexpr size_t most_one_by_one = 100; // in a pass: each can wait for a lock

template <typename Read, typename End>
Trouble end_all(const char *activity, Read &&read, End &&end)
{
	std::vector<int64> runs;
	auto trouble = pg::attempt(activity, lock_wait, [&] {
		runs = read();
		if (!runs.empty())
			end(runs);
	});
	if (!trouble || runs.size() < 2)
		return trouble;
	Trouble last;
	for (size_t i = 0; i < Min(runs.size(), most_one_by_one); i++)
		if (auto found = pg::attempt(activity, lock_wait, [&] { end(std::vector<int64>{runs[i]}); }))
			last = found;
	return last;
}

// An executor says what it has taken before the row does; so the rows are read first. One that goes on with what was
// cancelled is interrupted again: COMMIT PREPARED doesn't tell what it commits, and a command may catch the interrupt.
std::vector<int64> read_abandoned()
{
	std::vector<int64> abandoned;
	for (const catalog::ExecutedRun &run : catalog::read_executed()) {
		bool has_executor = run.is_cancelled ? worker::interrupt_executor(MyDatabaseId, run.id)
											 : worker::is_executed(MyDatabaseId, run.id);
		if (!has_executor)
			abandoned.push_back(run.id);
	}
	return abandoned;
}

// By hundreds: each tries a lock, and the table of locks is everybody's.
void end_orphans(const std::vector<int64> &runs)
{
	(void) catalog::end_orphans(runs);
}

Trouble end_claimed()
{
	std::vector<int64> all;
	auto trouble = pg::attempt("looking for claimed runs", lock_wait, [&] { all = catalog::read_claimed(); });
	for (size_t begin = 0; begin < all.size(); begin += 200) {
		std::vector<int64> some(all.begin() + (ptrdiff_t) begin,
								all.begin() + (ptrdiff_t) Min(begin + 200, all.size()));
		if (auto found = end_all(
				"ending runs without a worker", [&] { return some; }, end_orphans))
			trouble = found;
	}
	return trouble;
}

} // namespace

Trouble end_overdue(TimestampTz now)
{
	return end_all(
		"ending overdue runs", [&] { return catalog::read_overdue(now); },
		[&](const std::vector<int64> &runs) { (void) catalog::end_overdue(runs, now); });
}

Trouble end_without_worker()
{
	auto claimed = end_claimed();
	auto abandoned = end_all("ending runs without an executor", read_abandoned,
							 [](const std::vector<int64> &runs) { (void) catalog::end_abandoned(runs); });
	return abandoned ? abandoned : claimed;
}

} // namespace pgbraid::job
