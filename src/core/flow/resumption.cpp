#include "core/flow/resumption.h"

#include <algorithm>

namespace pgbraid::core {
namespace {

constexpr Position nowhere{};

// Of the last message, if it is one of this flow, of this epoch or an earlier one.
std::optional<Epoch> own_epoch(const Standing &standing)
{
	if (!standing.tail.last || standing.tail.last->history.system != standing.system)
		return std::nullopt;
	auto theirs = parse_epoch(standing.tail.last->history.epoch);
	bool own = theirs && theirs->is_same_flow(standing.epoch) && !theirs->is_later_than(standing.epoch);
	return own ? theirs : std::nullopt;
}

Resumption after_event(const Standing &standing, const Epoch &theirs)
{
	Resumption found;
	found.after = standing.tail.last->position;
	found.in_snapshot = !standing.tail.snapshot.empty();
	// Of the first row of a snapshot, what precedes it (a schema, a piece) bears no mark of it. But WAL has its records
	// at multiples of 8 only, and rows of a snapshot have no place in between.
	bool is_place_of_record = found.after.lsn % 8 == 0;
	found.must_be_met = !found.in_snapshot && (found.after.part == Position::whole || is_place_of_record);
	if (theirs.timeline == standing.epoch.timeline) {
		if (found.after.lsn >= standing.wal_end)
			found.course = Course::restored;
		return found;
	}
	auto ancestor = std::find_if(standing.ancestors.begin(), standing.ancestors.end(),
								 [&theirs](const Ancestor &known) { return known.timeline == theirs.timeline; });
	if (ancestor == standing.ancestors.end()) {
		found.course = Course::restored;
	} else if (found.after.lsn >= ancestor->end) {
		// In order, so all that both histories share is there.
		found.after = {ancestor->end - 1, 0};
		found.has_undone = true;
		found.must_be_met = found.in_snapshot = false;
	}
	return found;
}

// The last message is gone, or says nothing of us: its sequence alone may be known. Or another stream was written so
// far.
Resumption after_sequence(const Standing &standing)
{
	Resumption found;
	for (const Checkpoint *checkpoint : {&standing.known, &standing.settled})
		if (checkpoint->sequence > 0 && checkpoint->sequence == standing.tail.sequence)
			found.after = std::max(found.after, checkpoint->position);
	if (standing.known.sequence == 0)
		found.after = std::max(found.after, standing.known.position);
	return found;
}

} // namespace

Resumption resume_after(const Standing &standing)
{
	auto theirs = own_epoch(standing);
	if (standing.tail.last && !theirs && standing.tail.sequence != standing.first_sequence)
		return {.course = Course::other_writer};
	if (standing.tail.sequence < standing.settled.sequence)
		return {.course = Course::lost};
	bool same_generation = theirs && theirs->generation == standing.epoch.generation;
	Resumption found = same_generation ? after_event(standing, *theirs) : after_sequence(standing);
	found.went_back = standing.tail.sequence < standing.known.sequence;
	// Of our own making, and yet older than what is settled: other messages have taken the place of those.
	if (same_generation && found.course == Course::go_on && found.after != nowhere && !found.has_undone &&
		found.after < standing.settled.position)
		found.course = Course::lost;
	return found;
}

} // namespace pgbraid::core
