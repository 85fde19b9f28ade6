// Timings of all kinds, within ten days of a moment, for simulations.
#pragma once
#include "core/job/timetable.h"
#include "moment.h"
#include "zone_file.h"

#include <array>
#include <random>
#include <string>

namespace pgbraid::core::job {

class RandomTiming {
public:
	enum class Density { sparse, dense };

	RandomTiming(unsigned seed, Instant near, Density density) : random_{seed}, near_{near}, density_{density} {}

	Timing operator()()
	{
		using namespace std::chrono_literals;
		using Times = std::array<std::chrono::microseconds, 5>;
		Timing timing{Schedule{expression(), policy()}, any(zones())};
		timing.misfire = any(std::array{Misfire::skip, Misfire::once, Misfire::all});
		timing.grace = any(Times{0s, 1us, 10s, 5min, 1h});
		timing.window = any(Times{0s, 10min, 1h, 24h, 1000h});
		timing.most_runs = any(std::array{1, 3, 100});
		timing.jitter = any(Times{0s, 1us, 1s, 5min, 1h});
		if (below(5) == 0)
			timing.starts_at = moment(density_ == Density::dense ? 7200 : ten_days);
		if (below(5) == 0)
			timing.ends_at = moment(ten_days);
		return timing;
	}

	// At least 0, less than that.
	int below(int limit) { return static_cast<int>(random_() % static_cast<unsigned>(limit)); }

private:
	static constexpr int ten_days = 864000;

	template <typename Choices>
	typename Choices::value_type any(const Choices &choices)
	{
		return choices[static_cast<std::size_t>(below(static_cast<int>(choices.size())))];
	}

	// Their clocks change near the end of March, the begin of April, or in October.
	static const std::array<const Zone *, 7> &zones()
	{
		static const ZoneFile berlin{"Europe/Berlin"}, lord_howe{"Australia/Lord_Howe"}, cairo{"Africa/Cairo"},
			chatham{"Pacific/Chatham"}, kathmandu{"Asia/Kathmandu"}, santiago{"America/Santiago"},
			troll{"Antarctica/Troll"};
		static const std::array<const Zone *, 7> all{&berlin,	 &lord_howe, &cairo, &chatham,
													 &kathmandu, &santiago,	 &troll};
		return all;
	}

	Instant moment(int within) { return near_ + std::chrono::seconds{below(within)}; }

	Policy policy()
	{
		return {any(std::array{DayRule::either, DayRule::both}),
				any(std::array{GapPolicy::automatic, GapPolicy::after, GapPolicy::skip, GapPolicy::shift}),
				any(std::array{OverlapPolicy::automatic, OverlapPolicy::first, OverlapPolicy::both}), moment(ten_days)};
	}

	Expression expression()
	{
		const std::string text = density_ == Density::dense ? dense() : sparse();
		return parse_expression(text).value();
	}

	std::string number(int first, int count) { return std::to_string(first + below(count)); }

	std::string sparse()
	{
		const std::string minute = number(0, 60), hour = number(0, 24);
		switch (below(9)) {
			case 0: return minute + " 1-3 * * *";
			case 1: return minute + " " + hour + " * * " + number(0, 7);
			case 2: return "30 2 * * *";
			case 3: return minute + " */" + number(3, 9) + " * * *";
			case 4: return "@every " + number(3, 30) + "h" + minute + "m";
			case 5: return "@at " + text_of(moment(ten_days));
			case 6: return "@at " + text_of(moment(ten_days)).substr(0, 19); // by the clock of the zone
			case 7: return below(20) == 0 ? "0 0 30 2 *" : "0 0 29 2 *";
			default: return minute + " " + hour + " * * *";
		}
	}

	std::string dense()
	{
		switch (below(6)) {
			case 0: return "*/10 * * * * *";
			case 1: return "*/5 1-3 * * *";
			case 2: return "@every " + number(7, 60) + "s";
			case 3: return "0,30 * * * * *";
			default: return "* * * * *";
		}
	}

	std::mt19937 random_;
	Instant near_;
	Density density_;
};

} // namespace pgbraid::core::job
