#include "core/flow/settling.h"

namespace pgbraid::core {

void Settling::note(std::int64_t now, const Checkpoint &checkpoint)
{
	if (checkpoint.lsn <= noted_)
		return;
	noted_ = checkpoint.lsn;
	waiting_.push_back({now, checkpoint});
}

std::optional<Checkpoint> Settling::take_settled(std::int64_t now, std::int64_t horizon, Lsn most)
{
	std::optional<Checkpoint> settled;
	while (!waiting_.empty() && now - waiting_.front().since >= horizon && waiting_.front().checkpoint.lsn <= most) {
		settled = waiting_.front().checkpoint;
		waiting_.pop_front();
	}
	return settled;
}

} // namespace pgbraid::core
