// A stream acknowledges before it has written to disk, so what it has acknowledged may still be lost with its server.
// What can be confirmed to the slot is therefore what was acknowledged a while ago: the durability horizon.
#pragma once
#include "core/flow/position.h"

#include <cstdint>
#include <deque>
#include <optional>

namespace pgbraid::core {

// At one moment: everything that committed up to `lsn` was acknowledged. `position` and `sequence` (of the stream) are
// those of the last message that was.
struct Checkpoint {
	Lsn lsn = 0;
	std::uint64_t sequence = 0;
	Position position{};
};

// Times are in any unit, from any origin, as long as they do not go back.
class Settling {
public:
	// Notes a checkpoint; one that tells nothing new is dropped.
	void note(std::int64_t now, const Checkpoint &checkpoint);

	// The latest checkpoint that is at least as old as the horizon and not beyond `most`, once.
	std::optional<Checkpoint> take_settled(std::int64_t now, std::int64_t horizon, Lsn most = ~Lsn{0});

	bool empty() const noexcept { return waiting_.empty(); }

private:
	struct Waiting {
		std::int64_t since;
		Checkpoint checkpoint;
	};
	std::deque<Waiting> waiting_;
	Lsn noted_ = 0;
};

} // namespace pgbraid::core
