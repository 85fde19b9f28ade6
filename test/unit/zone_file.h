// A zone as the system's tables have it (tzfile(5), RFC 8536): for tests of schedules. Throws where there is no such
// file, or one that it doesn't understand.
#pragma once
#include "core/job/zone.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace pgbraid::core::job {

// The rule at the end of a file, "EST5EDT,M3.2.0,M11.1.0": what holds after the last transition.
class ZoneRule {
public:
	explicit ZoneRule(std::string text) : text_{std::move(text)}
	{
		skip_name();
		standard_ = -take_seconds();
		if (at_ == text_.size())
			return;
		skip_name();
		summer_ = text_[at_] == ',' ? standard_ + 3600 : -take_seconds();
		start_ = take_date();
		end_ = take_date();
		has_summer_ = true;
	}

	// Those of a year, in order.
	std::vector<Zone::Transition> transitions(int year) const
	{
		if (!has_summer_)
			return {};
		std::vector<Zone::Transition> both{
			{start_.in(year) -std::chrono::seconds{standard_}, std::chrono::seconds{summer_}},
			{end_.in(year) -std::chrono::seconds{summer_}, std::chrono::seconds{standard_}}};
		if (both[1].at < both[0].at)
			std::swap(both[0], both[1]);
		return both;
	}

private:
	struct Date { // the week-th weekday of a month; 5 is the last
		unsigned month = 1, week = 1, weekday = 0;
		int time = 7200;

		std::chrono::sys_seconds in(int year) const
		{
			using namespace std::chrono;
			const std::chrono::year_month of = std::chrono::year{year} / std::chrono::month{month};
			const std::chrono::weekday day{weekday};
			const sys_days date = week == 5 ? sys_days{of / day[last]} : sys_days{of / day[week]};
			return sys_seconds{date} + seconds{time};
		}
	};

	void skip_name()
	{
		if (text_.at(at_) == '<')
			at_ = text_.find('>', at_) + 1;
		else
			at_ = std::min(text_.find_first_of("+-0123456789,", at_), text_.size());
	}

	int take_number()
	{
		char *end;
		const long number = std::strtol(text_.c_str() + at_, &end, 10);
		if (end == text_.c_str() + at_)
			throw std::runtime_error{"rule of a zone not understood: " + text_};
		at_ = static_cast<std::size_t>(end - text_.c_str());
		return static_cast<int>(number);
	}

	bool take(char c)
	{
		const bool found = at_ < text_.size() && text_[at_] == c;
		at_ += found;
		return found;
	}

	int take_seconds()
	{
		const bool negative = take('-');
		if (!negative)
			take('+');
		int seconds = take_number() * 3600;
		for (int unit = 60; unit > 0 && take(':'); unit /= 60)
			seconds += take_number() * unit;
		return negative ? -seconds : seconds;
	}

	Date take_date()
	{
		Date date;
		if (!take(',') || !take('M'))
			throw std::runtime_error{"rule of a zone not understood: " + text_};
		date.month = static_cast<unsigned>(take_number());
		take('.');
		date.week = static_cast<unsigned>(take_number());
		take('.');
		date.weekday = static_cast<unsigned>(take_number());
		if (take('/'))
			date.time = take_seconds();
		return date;
	}

	std::string text_;
	std::size_t at_ = 0;
	int standard_ = 0, summer_ = 0;
	bool has_summer_ = false;
	Date start_, end_;
};

class ZoneFile final : public Zone {
public:
	explicit ZoneFile(const std::string &name)
	{
		const std::string path = "/usr/share/zoneinfo/" + name;
		std::ifstream file{path, std::ios::binary};
		if (!file)
			throw std::runtime_error{"there is no " + path + "; the package tzdata has it"};
		bytes_.assign(std::istreambuf_iterator<char>{file}, {});
		read();
		bytes_.clear();
	}

	std::chrono::seconds offset_at(std::chrono::sys_seconds time) const override
	{
		auto after = transition_after(time);
		return after == transitions_.begin() ? first_ : std::prev(after)->offset;
	}

	std::optional<Transition> next_transition(std::chrono::sys_seconds time) const override
	{
		auto after = transition_after(time);
		return after == transitions_.end() ? std::nullopt : std::optional{*after};
	}

	const std::vector<Transition> &transitions() const { return transitions_; }

private:
	static constexpr std::size_t header_size = 44;
	static constexpr int last_year = 2500; // of what the rule says

	std::vector<Transition>::const_iterator transition_after(std::chrono::sys_seconds time) const
	{
		return std::upper_bound(transitions_.begin(), transitions_.end(), time,
								[](auto a, const Transition &b) { return a < b.at; });
	}

	std::int64_t number(std::size_t at, std::size_t size) const
	{
		std::uint64_t value = bytes_.at(at) & 0x80 ? ~std::uint64_t{0} : 0;
		for (std::size_t i = 0; i < size; i++)
			value = value << 8 | static_cast<unsigned char>(bytes_.at(at + i));
		return static_cast<std::int64_t>(value);
	}

	struct Counts { // in the order of the header
		std::size_t is_ut, is_standard, leap, time, type, characters;
	};

	Counts counts(std::size_t header) const
	{
		if (bytes_.compare(header, 4, "TZif") != 0 || bytes_.at(header + 4) < '2')
			throw std::runtime_error{"not a TZif file of version 2 or later"};
		std::array<std::size_t, 6> found{};
		for (std::size_t i = 0; i < found.size(); i++)
			found[i] = static_cast<std::size_t>(number(header + 20 + 4 * i, 4));
		return {found[0], found[1], found[2], found[3], found[4], found[5]};
	}

	// The second block has times of 64 bits, the rule follows it.
	void read()
	{
		const Counts old = counts(0);
		const std::size_t second =
			header_size + old.time * 5 + old.type * 6 + old.characters + old.leap * 8 + old.is_standard + old.is_ut;
		const Counts count = counts(second);
		const std::size_t times = second + header_size, types = times + count.time * 8, offsets = types + count.time;
		first_ = std::chrono::seconds{number(offsets, 4)};
		for (std::size_t i = 0; i < count.time; i++) {
			const auto type = static_cast<unsigned char>(bytes_.at(types + i));
			transitions_.push_back({std::chrono::sys_seconds{std::chrono::seconds{number(times + i * 8, 8)}},
									std::chrono::seconds{number(offsets + type * 6u, 4)}});
		}
		const std::size_t rule =
			offsets + count.type * 6 + count.characters + count.leap * 12 + count.is_standard + count.is_ut + 1;
		add_rule(bytes_.substr(rule, bytes_.find('\n', rule) - rule));
	}

	void add_rule(const std::string &text)
	{
		const ZoneRule rule{text};
		for (int year = 1970; year <= last_year; year++)
			for (const Transition &transition : rule.transitions(year))
				if (transitions_.empty() || transition.at > transitions_.back().at)
					transitions_.push_back(transition);
	}

	std::string bytes_;
	std::chrono::seconds first_{};
	std::vector<Transition> transitions_;
};

} // namespace pgbraid::core::job
