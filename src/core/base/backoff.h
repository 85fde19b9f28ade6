// Exponential back-off: the delay before attempt n + 1 after n failures in a row.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>

namespace pgbraid::core {

// first, 2 * first, 4 * first ... up to `most`; then up to a quarter is taken off by `jitter` (0 .. 2^32-1, random), so
// that many that failed together do not come back together.
constexpr std::chrono::milliseconds backoff(unsigned failures, std::chrono::milliseconds first,
											std::chrono::milliseconds most, std::uint32_t jitter = 0)
{
	if (failures == 0)
		return std::chrono::milliseconds{0};
	auto delay = first * (std::int64_t{1} << std::min(failures - 1, 30u));
	delay = std::min(delay, most);
	return delay - std::chrono::milliseconds{(delay.count() / 4) * static_cast<std::int64_t>(jitter) / 0xffffffffLL};
}

} // namespace pgbraid::core
