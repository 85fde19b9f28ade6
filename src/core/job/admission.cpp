#include "core/job/admission.h"

#include <algorithm>
#include <iterator>

namespace pgbraid::core::job {

std::optional<Overlap> overlap_of(std::string_view name)
{
	constexpr std::string_view names[] = {"allow", "skip", "queue_one", "queue_all", "replace"};
	const auto found = std::find(std::begin(names), std::end(names), name);
	return found == std::end(names) ? std::nullopt : std::optional{static_cast<Overlap>(found - std::begin(names))};
}

Admission admit(Overlap overlap, Load load, int most_waiting) noexcept
{
	if (overlap == Overlap::allow || (load.active == 0 && load.waiting == 0))
		return Admission::start;
	switch (overlap) {
		case Overlap::queue_one: return load.waiting == 0 ? Admission::wait : Admission::skip;
		case Overlap::queue_all: return load.waiting < most_waiting ? Admission::wait : Admission::skip;
		case Overlap::replace: return Admission::replace;
		case Overlap::allow:
		case Overlap::skip: break;
	}
	return Admission::skip;
}

} // namespace pgbraid::core::job
