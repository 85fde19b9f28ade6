// What is written for an expression parses to the same one, and the times of a schedule are the same ones on the way
// there and on the way back, in whatever zone.
#include "core/job/description.h"
#include "core/job/expression_parser.h"
#include "core/job/schedule.h"

#include <cstdlib>
#include <vector>

using namespace pgbraid::core;
using namespace pgbraid::core::job;

namespace {

void require(bool holds)
{
	if (!holds)
		std::abort();
}

class Input {
public:
	Input(const std::uint8_t *data, std::size_t size) noexcept : rest_{reinterpret_cast<const char *>(data), size} {}

	int take() noexcept
	{
		if (rest_.empty())
			return 0;
		const int byte = static_cast<unsigned char>(rest_.front());
		rest_.remove_prefix(1);
		return byte;
	}
	std::string_view rest() const noexcept { return rest_; }

private:
	std::string_view rest_;
};

// Transitions at least two days apart, of up to a day.
class FuzzedZone final : public Zone {
public:
	explicit FuzzedZone(Input &input)
	{
		std::chrono::sys_seconds at = std::chrono::sys_days{std::chrono::year{2024} / 1 / 1};
		for (int count = input.take() % 8; count > 0; count--) {
			at += std::chrono::hours{48 + input.take()} + std::chrono::seconds{input.take() * 61};
			transitions_.push_back({at, std::chrono::minutes{(input.take() - 128) * 5 + input.take() % 5}});
		}
	}

	std::chrono::seconds offset_at(std::chrono::sys_seconds time) const override
	{
		std::chrono::seconds offset{0};
		for (const Transition &transition : transitions_)
			if (transition.at <= time)
				offset = transition.offset;
		return offset;
	}

	std::optional<Transition> next_transition(std::chrono::sys_seconds after) const override
	{
		for (const Transition &transition : transitions_)
			if (transition.at > after)
				return transition;
		return std::nullopt;
	}

private:
	std::vector<Transition> transitions_;
};

Policy policy_of(Input &input)
{
	const int byte = input.take();
	Policy policy;
	policy.days = byte & 1 ? DayRule::both : DayRule::either;
	policy.gap = static_cast<GapPolicy>(byte / 2 % 4);
	policy.overlap = static_cast<OverlapPolicy>(byte / 8 % 3);
	policy.anchor = Instant{std::chrono::seconds{byte}};
	return policy;
}

void check_times(const Schedule &schedule, const Zone &zone, Instant from)
{
	constexpr std::chrono::microseconds moment{1};
	for (int i = 0; i < 8; i++) {
		const auto next = schedule.next(from, zone);
		if (!next)
			return;
		require(*next > from);
		require(schedule.next(*next - moment, zone) == next);
		require(schedule.previous(*next + moment, zone) == next);
		const auto previous = schedule.previous(*next, zone);
		require(!previous || *previous <= from);
		if (previous)
			require(schedule.next(*previous, zone) == next);
		from = *next;
	}
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
	Input input{data, size};
	const FuzzedZone zone{input};
	const Policy policy = policy_of(input);
	Instant from = std::chrono::sys_days{std::chrono::year{2024} / 1 / 1};
	from += std::chrono::minutes{input.take() * 100 + input.take()};

	auto expression = parse_expression(input.rest());
	if (!expression) {
		require(!expression.error().message.empty() && std::string_view{expression.error().sqlstate} == "22023");
		return 0;
	}
	auto again = parse_expression(to_string(*expression));
	require(again.ok() && *again == *expression && to_string(*again) == to_string(*expression));
	require(!describe(*expression, policy.days).empty());
	check_times(Schedule{*expression, policy}, zone, from);
	return 0;
}
