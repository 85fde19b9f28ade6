#include "core/flow/resumption.h"

#include <algorithm>

namespace pgbraid::core {
namespace {

constexpr Position nowhere{};

// What is known of our messages, and the message that it is known by: the last of the stream, or of what is ours in it.
struct Known {
	const Standing &standing;
	const StreamTail &end;
	bool by_turns; // others write as well: what ended before `end` counts, too
};

// Of the message, if it is one of this flow, of this epoch or an earlier one.
std::optional<Epoch> own_epoch(const Standing &standing, const StreamTail &message)
{
	if (!message.last || message.last->history.system != standing.system)
		return std::nullopt;
	auto theirs = parse_epoch(message.last->history.epoch);
	bool own = theirs && theirs->is_same_flow(standing.epoch) && !theirs->is_later_than(standing.epoch);
	return own ? theirs : std::nullopt;
}

Resumption after_event(const Known &known, const Epoch &theirs)
{
	const Standing &standing = known.standing;
	Resumption found;
	found.after = known.end.last->position;
	found.in_snapshot = !known.end.snapshot.empty();
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
								 [&theirs](const Ancestor &one) { return one.timeline == theirs.timeline; });
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
Resumption after_sequence(const Known &known)
{
	Resumption found;
	const Standing &standing = known.standing;
	std::uint64_t end = known.end.sequence;
	for (const Checkpoint *checkpoint : {&standing.known, &standing.settled, &standing.before})
		if (checkpoint->sequence > 0 && (checkpoint->sequence == end || (known.by_turns && checkpoint->sequence < end)))
			found.after = std::max(found.after, checkpoint->position);
	if (standing.known.sequence == 0)
		found.after = std::max(found.after, standing.known.position);
	return found;
}

Resumption after_end(const Known &known)
{
	const Standing &standing = known.standing;
	if (known.end.sequence < standing.settled.sequence)
		return {.course = Course::lost};
	auto theirs = own_epoch(standing, known.end);
	bool same_generation = theirs && theirs->generation == standing.epoch.generation;
	Resumption found = same_generation ? after_event(known, *theirs) : after_sequence(known);
	found.went_back = known.end.sequence < standing.known.sequence;
	// Of our own making, and yet older than what is settled: other messages have taken the place of those.
	if (same_generation && found.course == Course::go_on && found.after != nowhere && !found.has_undone &&
		found.after < standing.settled.position)
		found.course = Course::lost;
	found.begins_turn = known.by_turns && known.end.sequence < standing.tail.sequence;
	return found;
}

} // namespace

Resumption resume_after(const Standing &standing)
{
	bool is_family = standing.follows_family && is_of_family(standing.tail, standing.system, standing.epoch);
	bool is_foreign = standing.tail.last && !is_family && !own_epoch(standing, standing.tail) &&
					  standing.tail.sequence != standing.first_sequence;
	bool is_replaced = standing.own && standing.own->tail.last && !own_epoch(standing, standing.own->tail);
	if (is_foreign || is_replaced)
		return {.course = Course::other_writer};
	if (standing.own)
		return after_end({standing, standing.own->tail, true});
	static const StreamTail nothing;
	return after_end({standing, is_family ? nothing : standing.tail, is_family});
}

} // namespace pgbraid::core
