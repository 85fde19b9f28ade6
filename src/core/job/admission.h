// What becomes of a run of a job whose other runs have not ended.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace pgbraid::core::job {

enum class Overlap : std::uint8_t {
	allow,	   // it starts all the same
	skip,	   // it is left out
	queue_one, // it waits, if no other one does
	queue_all, // it waits
	replace,   // it takes the place of the others, which are cancelled
};
std::optional<Overlap> overlap_of(std::string_view name);

// Runs of the job that have not ended: those that have a place, and those that wait for one.
struct Load {
	int active = 0, waiting = 0;
};

// `replace`: what is active is to be cancelled and what waits left out, and the new run comes next.
enum class Admission : std::uint8_t { start, wait, skip, replace };

// Of a new run. `most_waiting` is for Overlap::queue_all.
Admission admit(Overlap overlap, Load load, int most_waiting) noexcept;

} // namespace pgbraid::core::job
