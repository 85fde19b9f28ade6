#include "core/flow/epoch.h"

#include <charconv>

namespace pgbraid::core {

std::string to_text(const Epoch &epoch)
{
	return std::to_string(epoch.database) + '-' + std::to_string(epoch.flow) + '-' + std::to_string(epoch.timeline) +
		   '-' + std::to_string(epoch.generation);
}

std::optional<Epoch> parse_epoch(std::string_view text)
{
	Epoch epoch;
	const char *at = text.data(), *end = at + text.size();
	auto take = [&](auto &number, bool is_last) {
		auto [next, error] = std::from_chars(at, end, number);
		if (error != std::errc() || (is_last ? next != end : next == end || *next != '-'))
			return false;
		at = next + 1;
		return true;
	};
	bool valid = take(epoch.database, false) && take(epoch.flow, false) && take(epoch.timeline, false) &&
				 take(epoch.generation, true);
	// Only what to_text() prints: no leading zero, no minus sign.
	return valid && epoch.flow >= 0 && epoch.generation >= 0 && to_text(epoch) == text ? std::optional(epoch)
																					   : std::nullopt;
}

} // namespace pgbraid::core
