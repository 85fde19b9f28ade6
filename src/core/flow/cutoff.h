// The moment from which a snapshot of tables stands: which transactions belong to what was there, and which are changes
// that came after. A row whose latest version an included transaction wrote is part of the snapshot; any other row is
// told by the change that wrote it.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgbraid::core {

using FullXid = std::uint64_t; // a transaction id with its epoch, so that it never wraps around

// The transaction that a 32-bit id speaks of: the latest one of that id before `next`.
constexpr FullXid full_xid(std::uint32_t xid, FullXid next)
{
	FullXid full = (next & ~FullXid{0xffffffff}) | xid;
	return full >= next && full >= (FullXid{1} << 32) ? full - (FullXid{1} << 32) : full;
}

class Cutoff {
public:
	Cutoff() = default;
	// All transactions before `oldest_running` had ended, none from `next` on had begun, and of those in between
	// `running` (subtransactions included) had not ended; in any order.
	Cutoff(FullXid oldest_running, FullXid next, std::vector<FullXid> running);

	// Had the transaction ended? (Whether it committed is for the reader of its rows to know.)
	bool includes(FullXid xid) const noexcept;

	// "oldest:next:running,running,...": the text form of PostgreSQL's pg_snapshot.
	std::string text() const;
	static std::optional<Cutoff> parse(std::string_view text);

	bool operator==(const Cutoff &) const = default;

private:
	FullXid oldest_running_ = 0, next_ = 0;
	std::vector<FullXid> running_; // sorted
};

} // namespace pgbraid::core
