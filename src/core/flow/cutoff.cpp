#include "core/flow/cutoff.h"

#include <algorithm>
#include <charconv>

namespace pgbraid::core {

Cutoff::Cutoff(FullXid oldest_running, FullXid next, std::vector<FullXid> running)
	: oldest_running_(oldest_running), next_(next), running_(std::move(running))
{
	std::sort(running_.begin(), running_.end());
}

bool Cutoff::includes(FullXid xid) const noexcept
{
	if (xid < oldest_running_)
		return true;
	return xid < next_ && !std::binary_search(running_.begin(), running_.end(), xid);
}

std::string Cutoff::text() const
{
	std::string text = std::to_string(oldest_running_) + ':' + std::to_string(next_) + ':';
	for (std::size_t i = 0; i < running_.size(); i++)
		text += (i > 0 ? "," : "") + std::to_string(running_[i]);
	return text;
}

std::optional<Cutoff> Cutoff::parse(std::string_view text)
{
	Cutoff cutoff;
	const char *at = text.data(), *end = at + text.size();
	auto take = [&](FullXid &xid, char separator) {
		auto [next, error] = std::from_chars(at, end, xid);
		at = next;
		return error == std::errc() && at != end && *at++ == separator;
	};
	if (!take(cutoff.oldest_running_, ':') || !take(cutoff.next_, ':'))
		return std::nullopt;
	while (at != end) {
		FullXid xid = 0;
		auto [next, error] = std::from_chars(at, end, xid);
		bool more = next != end && *next == ',' && next + 1 != end;
		bool ordered = cutoff.running_.empty() || cutoff.running_.back() <= xid;
		if (error != std::errc() || (next != end && !more) || !ordered)
			return std::nullopt;
		cutoff.running_.push_back(xid);
		at = more ? next + 1 : next;
	}
	return cutoff;
}

} // namespace pgbraid::core
