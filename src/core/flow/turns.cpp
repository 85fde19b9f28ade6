#include "core/flow/turns.h"

namespace pgbraid::core {
namespace {

std::optional<Epoch> epoch_of(const StreamTail &message, std::uint64_t system)
{
	if (!message.last || message.last->history.system != system)
		return std::nullopt;
	return parse_epoch(message.last->history.epoch);
}

bool is_own(const StreamTail &message, const Turn &turn)
{
	auto epoch = epoch_of(message, turn.system);
	return epoch && epoch->is_same_flow(turn.epoch) && epoch->generation == turn.epoch.generation;
}

class Search {
public:
	Search(const Turn &turn, const StreamTail &tail, const Look &look) : turn_(turn), tail_(tail), look_(look) {}

	Result<OwnEnd> run()
	{
		// A stream that ends before our turn began has gone back, and what it held by then need not be there either.
		found_.tail.sequence = tail_.sequence >= turn_.first_sequence ? turn_.first_sequence : 0;
		for (std::uint64_t known : {turn_.known, turn_.settled})
			if (found_.message == 0 && known > found_.tail.sequence && known <= tail_.sequence)
				begin_at(known);
		go_on();
		if (found_.message == 0 && found_.tail.sequence == turn_.first_sequence && turn_.message_before > 0)
			recall();
		if (error_)
			return *error_;
		found_.tail.piece.reset(); // others have come between: whoever reads pieces begins anew
		return found_;
	}

private:
	std::optional<StreamTail> look(std::uint64_t sequence)
	{
		if (error_)
			return std::nullopt;
		auto met = look_(sequence);
		if (!met.ok()) {
			error_ = met.error();
			return std::nullopt;
		}
		return *met;
	}

	// Unless the stream has lost it, and has something else there.
	void begin_at(std::uint64_t sequence)
	{
		auto met = look(sequence);
		bool is_there = met && met->sequence == sequence;
		if (is_there && !is_own(*met, turn_))
			return;
		found_ = {is_there ? *met : StreamTail{sequence, std::nullopt}, sequence};
	}

	void go_on()
	{
		for (std::uint64_t end = tail_.sequence; end > found_.tail.sequence + 1;) {
			std::uint64_t middle = found_.tail.sequence + (end - found_.tail.sequence) / 2;
			auto met = look(middle);
			if (error_)
				return;
			if (met && met->sequence >= middle && met->sequence < end && is_own(*met, turn_))
				found_ = {*met, met->sequence};
			else
				end = middle;
		}
	}

	// Nothing was written in this turn.
	void recall()
	{
		found_.message = turn_.message_before;
		auto met = look(turn_.message_before);
		if (!met || met->sequence != turn_.message_before || !is_own(*met, turn_))
			return;
		std::uint64_t sequence = found_.tail.sequence;
		found_.tail = *met;
		found_.tail.sequence = sequence;
	}

	const Turn &turn_;
	const StreamTail &tail_;
	const Look &look_;
	OwnEnd found_;
	std::optional<Error> error_;
};

} // namespace

Result<OwnEnd> find_own_end(const Turn &turn, const StreamTail &tail, const Look &look)
{
	if (is_own(tail, turn))
		return OwnEnd{tail, tail.sequence};
	return Search(turn, tail, look).run();
}

bool is_of_family(const StreamTail &tail, std::uint64_t system, const Epoch &epoch)
{
	auto theirs = epoch_of(tail, system);
	return theirs && theirs->flow == epoch.flow && theirs->database != epoch.database &&
		   theirs->timeline <= epoch.timeline;
}

} // namespace pgbraid::core
