#include "core/flow/json.h"

#include <gtest/gtest.h>
#include <limits>
#include <random>

namespace pgbraid::core {
namespace {

std::string integer(std::int64_t value)
{
	Bytes bytes;
	append_json_integer(bytes, value);
	return std::string{bytes.view()};
}

std::string number(std::string_view text)
{
	Bytes bytes;
	append_json_number(bytes, text);
	return std::string{bytes.view()};
}

std::string timestamp(std::int64_t microseconds)
{
	Bytes bytes;
	append_timestamp(bytes, microseconds);
	return std::string{bytes.view()};
}

// Moves the point one digit at a time.
std::string slow_plain(std::string whole, std::string fraction, int exponent)
{
	for (; exponent > 0; exponent--) {
		whole += fraction.empty() ? '0' : fraction.front();
		fraction = fraction.empty() ? "" : fraction.substr(1);
	}
	for (; exponent < 0; exponent++) {
		fraction.insert(fraction.begin(), whole.empty() ? '0' : whole.back());
		whole = whole.empty() ? "" : whole.substr(0, whole.size() - 1);
	}
	while (whole.size() > 1 && whole.front() == '0')
		whole = whole.substr(1);
	if (whole.empty())
		whole = "0";
	return fraction.empty() ? whole : whole + "." + fraction;
}

TEST(JsonInteger, PrintsTheExtremes)
{
	EXPECT_EQ(integer(0), "0");
	EXPECT_EQ(integer(-1), "-1");
	EXPECT_EQ(integer(1234567890), "1234567890");
	EXPECT_EQ(integer(std::numeric_limits<std::int64_t>::max()), "9223372036854775807");
	EXPECT_EQ(integer(std::numeric_limits<std::int64_t>::min()), "-9223372036854775808");
}

TEST(JsonNumber, PlainOnesStay)
{
	for (const char *text : {"0", "1", "-1", "1.50", "-0.001", "0.00", "123456789012345678901234567890.000", "-10"})
		EXPECT_EQ(number(text), text);
}

TEST(JsonNumber, ZeroHasNoSign)
{
	EXPECT_EQ(number("-0"), "0");
	EXPECT_EQ(number("-0.00"), "0.00");
	EXPECT_EQ(number("-0e+10"), "0");
	EXPECT_EQ(number("-0.0e-1"), "0.00");
}

TEST(JsonNumber, ExponentsBecomePlain)
{
	EXPECT_EQ(number("1e+20"), "100000000000000000000");
	EXPECT_EQ(number("1.5e+20"), "150000000000000000000");
	EXPECT_EQ(number("1e-07"), "0.0000001");
	EXPECT_EQ(number("-1.5e-07"), "-0.00000015");
	EXPECT_EQ(number("1.50e+1"), "15.0");
	EXPECT_EQ(number("12.5E0"), "12.5");
	EXPECT_EQ(number("0e5"), "0");
	EXPECT_EQ(number("0.5e3"), "500");
	EXPECT_EQ(number("0.005e3"), "5");
	EXPECT_EQ(number("0.00e1"), "0.0");
	EXPECT_EQ(number("1.7976931348623157e+308"), "17976931348623157" + std::string(292, '0'));
	EXPECT_EQ(number("5e-324"), "0." + std::string(323, '0') + "5");
}

TEST(JsonNumber, ExponentsAgreeWithASlowReference)
{
	std::mt19937 random(4);
	for (int i = 0; i < 50000; i++) {
		std::string whole = std::to_string(random() % (random() % 2 == 0 ? 10 : 100000)), fraction;
		for (auto left = random() % 6; left > 0; left--)
			fraction += static_cast<char>('0' + random() % 3);
		int exponent = static_cast<int>(random() % 40) - 20;
		bool zero = (whole + fraction).find_first_not_of('0') == std::string::npos, negative = random() % 2 == 0;
		std::string text = (negative ? "-" : "") + whole + (fraction.empty() ? "" : "." + fraction) + "e" +
						   (exponent >= 0 && random() % 2 == 0 ? "+" : "") + std::to_string(exponent);
		ASSERT_EQ(number(text), (negative && !zero ? "-" : "") + slow_plain(whole, fraction, exponent)) << text;
	}
}

TEST(JsonNumber, DoublesKeepTheirValue)
{
	std::mt19937_64 random(5);
	for (int i = 0; i < 20000; i++) {
		std::uint64_t bits = random();
		double value = 0;
		std::memcpy(&value, &bits, sizeof(value));
		if (value != value || value - value != 0)
			continue;
		char text[40];
		std::snprintf(text, sizeof(text), "%.17g", value);
		std::string plain = number(text);
		ASSERT_EQ(plain.find_first_not_of("-.0123456789"), std::string::npos) << plain;
		ASSERT_EQ(std::strtod(plain.c_str(), nullptr), value) << text;
	}
}

TEST(JsonNumber, WhatIsNoNumberBecomesAString)
{
	for (const char *text :
		 {"NaN",	  "Infinity", "-Infinity", "",	 "-",  ".5",   "5.",	"1e",	 "1e+",
		  "01",		  "-01",	  "+1",		   "1 ", " 1", "0x10", "1.2.3", "1e5e5", "1e99999999999999999999",
		  "1e131073", "$1.00",	  "1,5"})
		EXPECT_EQ(number(text), "\"" + std::string{text} + "\"");
	EXPECT_EQ(number("\"\n"), "\"\\\"\\n\"");
	EXPECT_EQ(number("1e131072").size(), 131073u);
}

TEST(Timestamp, AgreesWithATable)
{
	constexpr std::int64_t day = 86'400'000'000;
	EXPECT_EQ(timestamp(0), "2000-01-01T00:00:00.000000Z");
	EXPECT_EQ(timestamp(-1), "1999-12-31T23:59:59.999999Z");
	EXPECT_EQ(timestamp(769731120123456), "2024-05-22T22:12:00.123456Z");
	EXPECT_EQ(timestamp(-10957 * day), "1970-01-01T00:00:00.000000Z");
	EXPECT_EQ(timestamp(59 * day), "2000-02-29T00:00:00.000000Z");
	EXPECT_EQ(timestamp(60 * day), "2000-03-01T00:00:00.000000Z");
	EXPECT_EQ(timestamp(-36466 * day), "1900-02-28T00:00:00.000000Z");
	EXPECT_EQ(timestamp(-36465 * day), "1900-03-01T00:00:00.000000Z");
	EXPECT_EQ(timestamp(-730119 * day), "0001-01-01T00:00:00.000000Z");
	EXPECT_EQ(timestamp(-730120 * day), "0000-12-31T00:00:00.000000Z");
	EXPECT_EQ(timestamp(-730485 * day - 1), "-0001-12-31T23:59:59.999999Z");
	EXPECT_EQ(timestamp(2921940 * day - 1), "9999-12-31T23:59:59.999999Z");
	EXPECT_EQ(timestamp(2921940 * day), "10000-01-01T00:00:00.000000Z");
	// The ends of PostgreSQL's range: 4714-11-24 BC, and the last microsecond of 294276.
	EXPECT_EQ(timestamp(-211813488000000000), "-4713-11-24T00:00:00.000000Z");
	EXPECT_EQ(timestamp(9223371331199999999), "294276-12-31T23:59:59.999999Z");
	EXPECT_EQ(timestamp(-211810204800000000), "-4712-01-01T00:00:00.000000Z");
	EXPECT_EQ(timestamp(std::numeric_limits<std::int64_t>::max()), "294277-01-09T04:00:54.775807Z");
	EXPECT_EQ(timestamp(std::numeric_limits<std::int64_t>::min()), "-290278-12-22T19:59:05.224192Z");
}

TEST(Timestamp, EveryDayOfTwelveThousandYearsFollowsTheOneBefore)
{
	int year = -2000, month = 1, date = 1;
	std::int64_t days = 0;
	for (int y = -2000; y < 2000; y++)
		days -= y % 4 == 0 && (y % 100 != 0 || y % 400 == 0) ? 366 : 365;
	while (year < 10000) {
		char expected[40];
		std::snprintf(expected, sizeof(expected), year < 0 ? "%05d-%02d-%02dT" : "%04d-%02d-%02dT", year, month, date);
		ASSERT_EQ(timestamp(days * 86'400'000'000).substr(0, std::strlen(expected)), expected);
		const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
		bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
		days++;
		if (++date <= lengths[month - 1] + (month == 2 && leap ? 1 : 0))
			continue;
		date = 1;
		month = month % 12 + 1;
		year += month == 1 ? 1 : 0;
	}
}

TEST(Timestamp, ReadsBackAsTheSameMicrosecond)
{
	std::mt19937_64 random(6);
	for (int i = 0; i < 50000; i++) {
		auto value = static_cast<std::int64_t>(random()) >> random() % 40;
		long long year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, micro = 0;
		std::string text = timestamp(value);
		ASSERT_EQ(std::sscanf(text.c_str(), "%lld-%lld-%lldT%lld:%lld:%lld.%6lldZ", &year, &month, &day, &hour, &minute,
							  &second, &micro),
				  7)
			<< text;
		// The Julian day number by the formula of Fliegel and Van Flandern, which is PostgreSQL's date2j() in essence.
		long long y = year + 4800 + 400000 - (month <= 2 ? 1 : 0), m = month + (month <= 2 ? 9 : -3);
		long long julian = day + (153 * m + 2) / 5 + 365 * y + y / 4 - y / 100 + y / 400 - 32045 - 1000 * 146097LL;
		__int128 back = static_cast<__int128>(julian - 2451545) * 86'400'000'000 +
						static_cast<__int128>(hour * 3600 + minute * 60 + second) * 1'000'000 + micro;
		ASSERT_TRUE(back == value) << text;
	}
}

std::string iso(std::int64_t microseconds)
{
	Bytes bytes;
	return append_iso_timestamp(bytes, microseconds) ? std::string{bytes.view()} : "";
}

std::string iso_date(std::int64_t days)
{
	Bytes bytes;
	return append_iso_date(bytes, days) ? std::string{bytes.view()} : "";
}

TEST(IsoTimestamp, EndsTheFractionWithItsLastDigit)
{
	EXPECT_EQ(iso(0), "2000-01-01T00:00:00");
	EXPECT_EQ(iso(1), "2000-01-01T00:00:00.000001");
	EXPECT_EQ(iso(-1), "1999-12-31T23:59:59.999999");
	EXPECT_EQ(iso(120'000), "2000-01-01T00:00:00.12");
	EXPECT_EQ(iso(-86'399'900'000), "1999-12-31T00:00:00.1");
	EXPECT_EQ(iso(769'730'400'500'000), "2024-05-22T22:00:00.5");
}

TEST(IsoTimestamp, LeavesOtherYearsAlone)
{
	constexpr std::int64_t day = 86'400'000'000;
	EXPECT_EQ(iso(-730'119 * day), "0001-01-01T00:00:00");
	EXPECT_EQ(iso(-730'119 * day - 1), "");
	EXPECT_EQ(iso(2'921'940 * day - 1), "9999-12-31T23:59:59.999999");
	EXPECT_EQ(iso(2'921'940 * day), "");
	EXPECT_EQ(iso(std::numeric_limits<std::int64_t>::max()), "");
	EXPECT_EQ(iso(std::numeric_limits<std::int64_t>::min()), "");
}

TEST(IsoDate, IsThatOfTheCalendar)
{
	EXPECT_EQ(iso_date(59), "2000-02-29");
	EXPECT_EQ(iso_date(-730'119), "0001-01-01");
	EXPECT_EQ(iso_date(-730'120), "");
	EXPECT_EQ(iso_date(2'921'939), "9999-12-31");
	EXPECT_EQ(iso_date(2'921'940), "");
	EXPECT_EQ(iso_date(std::numeric_limits<std::int32_t>::max()), "");
}

} // namespace
} // namespace pgbraid::core
