// A time zone, as far as schedules need one. The server has its own tables, tests read those of the system.
#pragma once
#include <chrono>
#include <optional>

namespace pgbraid::core::job {

class Zone {
public:
	// From `at` on, local time is UTC plus `offset`.
	struct Transition {
		std::chrono::sys_seconds at;
		std::chrono::seconds offset;
	};

	virtual ~Zone() = default;

	// Local time less UTC at that moment, less than 24 hours either way. The same as the transitions tell.
	virtual std::chrono::seconds offset_at(std::chrono::sys_seconds time) const = 0;

	// The first transition later than that, if there is one. It need not change the offset.
	virtual std::optional<Transition> next_transition(std::chrono::sys_seconds after) const = 0;
};

} // namespace pgbraid::core::job
