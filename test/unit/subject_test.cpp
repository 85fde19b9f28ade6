#include "core/flow/subject.h"

#include <gtest/gtest.h>

namespace pgbraid::core {
namespace {

SubjectTemplate parsed(std::string_view text)
{
	auto result = SubjectTemplate::parse(text);
	EXPECT_TRUE(result.ok()) << text << ": " << (result.ok() ? "" : result.error().message);
	return *result;
}

std::string rendered(std::string_view text, const SubjectValues &values)
{
	Bytes bytes;
	parsed(text).render(bytes, values);
	return std::string{bytes.view()};
}

std::string token(std::string_view value)
{
	Bytes bytes;
	append_token(bytes, value);
	return std::string{bytes.view()};
}

const SubjectValues shop{"shop", "public", "orders", "insert", "42"};

TEST(SubjectTemplate, RendersItsPlaceholders)
{
	EXPECT_EQ(rendered("pgflow.{database}.{schema}.{table}", shop), "pgflow.shop.public.orders");
	EXPECT_EQ(rendered("{op}.x-{key}-{key}", shop), "insert.x-42-42");
	EXPECT_EQ(rendered("fixed", shop), "fixed");
	EXPECT_EQ(rendered("a.{table}", {"", "", "x.y", "", ""}), "a.x%2Ey");
	EXPECT_EQ(rendered("a.{key}", {}), "a.%");
	EXPECT_EQ(rendered("{database}.{schema}", {"$JS", "API", "", "", ""}), "%24JS.API");
}

TEST(SubjectTemplate, KnowsWhatItUses)
{
	EXPECT_TRUE(parsed("a.{op}").uses_op());
	EXPECT_FALSE(parsed("a.{op}").uses_key());
	EXPECT_TRUE(parsed("a.{key}").uses_key());
	EXPECT_FALSE(parsed("op.key.{table}").uses_op());
}

TEST(SubjectTemplate, RefusesWhatIsNoSubject)
{
	for (const char *text : {"",
							 ".",
							 "a.",
							 ".a",
							 "a..b",
							 "a.{tabel}",
							 "a.{}",
							 "a.{table",
							 "a.table}",
							 "a.}{",
							 "a.{{table}}",
							 "a.*",
							 "a.>",
							 "a.x*",
							 ">",
							 "*",
							 "a b",
							 "a.\t",
							 "a.\x7f",
							 "a.\x01",
							 "$a",
							 "$JS.API.{table}",
							 "a.\xff",
							 "a.\xC3",
							 "{database}.{table}.",
							 "{ table}"}) {
		auto result = SubjectTemplate::parse(text);
		ASSERT_FALSE(result.ok()) << text;
		EXPECT_STREQ(result.error().sqlstate, "22023") << text;
		EXPECT_FALSE(result.error().hint.empty()) << text;
	}
	EXPECT_EQ(rendered("a.$b.\xC3\xA9", shop), "a.$b.\xC3\xA9");
}

TEST(SubjectTemplate, IsBoundedSoThatSubjectsFitTheLine)
{
	EXPECT_FALSE(SubjectTemplate::parse(std::string(513, 'a')).ok());
	std::string most(495, 'a');
	for (int i = 0; i < 16; i++)
		most += ".{key}";
	std::string value(100000, '.');
	EXPECT_LE(rendered(most, {"", "", "", "", value}).size(), 512u + 16 * 128);
	EXPECT_FALSE(SubjectTemplate::parse(most.substr(1) + ".{key}").ok());
}

TEST(SubjectTemplate, PatternHasAWildcardForEachAbsentToken)
{
	auto plain = parsed("pg.{database}.{schema}.{table}");
	SubjectValues values{"shop", {}, {}, {}, {}};
	EXPECT_EQ(plain.pattern(values), "pg.shop.*.*");
	EXPECT_EQ(plain.pattern(shop), "pg.shop.public.orders");
	EXPECT_EQ(parsed("pg.x-{table}-y.{op}").pattern(values), "pg.*.*");
	EXPECT_EQ(parsed("{key}{table}.{database}{key}.z").pattern(values), "*.*.z");
	values.table = "";
	EXPECT_EQ(parsed("pg.{table}").pattern(values), "pg.%") << "empty is not absent";
	values.table = "a>b";
	EXPECT_EQ(parsed("pg.{table}").pattern(values), "pg.a%3Eb");
}

TEST(Token, EscapesWhatWouldChangeTheSubject)
{
	EXPECT_EQ(token("orders_2"), "orders_2");
	EXPECT_EQ(token(""), "%");
	EXPECT_EQ(token("%"), "%25");
	EXPECT_EQ(token("a.b*c>d%e f\tg\nh"), "a%2Eb%2Ac%3Ed%25e%20f%09g%0Ah");
	EXPECT_EQ(token(std::string_view{"\0\x7f", 2}), "%00%7F");
	EXPECT_EQ(token("$a$b"), "%24a$b");
	EXPECT_EQ(token("gr\xC3\xBC\xC3\x9F"), "gr\xC3\xBC\xC3\x9F");
	EXPECT_EQ(token("\xC3("), "%C3(");
	EXPECT_EQ(token("a/b\\c{}"), "a/b\\c{}");
}

TEST(Token, IsCutAndHashedWhenLong)
{
	EXPECT_EQ(token(std::string(128, 'a')), std::string(128, 'a'));
	EXPECT_EQ(token(std::string(128, '-')), std::string(128, '-'));
	auto cut = token(std::string(129, 'a'));
	EXPECT_EQ(cut.size(), 128u);
	EXPECT_EQ(cut.substr(0, 112), std::string(110, 'a') + "%~");
	EXPECT_EQ(cut.find_first_not_of("0123456789ABCDEF", 112), std::string::npos);
	EXPECT_NE(cut, token(std::string(130, 'a')));
	EXPECT_NE(token(std::string(200, 'a') + "x"), token(std::string(200, 'a') + "y"));
	// FNV-1a, 64 bits, with its constants in decimal.
	std::uint64_t hash = 14695981039346656037u;
	for (int i = 0; i < 129; i++) {
		hash ^= 'a';
		hash *= 1099511628211u;
	}
	char digits[17];
	std::snprintf(digits, sizeof(digits), "%016llX", static_cast<unsigned long long>(hash));
	EXPECT_EQ(cut.substr(112), digits);
}

TEST(Token, IsCutOnACharacterBoundary)
{
	std::string wide = "x";
	for (int i = 0; i < 60; i++)
		wide += "\xE2\x82\xAC";
	EXPECT_EQ(token(wide).substr(0, 111), wide.substr(0, 109) + "%~");
	EXPECT_EQ(token(std::string(60, '.')).substr(0, 110), [] {
		std::string dots;
		for (int i = 0; i < 36; i++)
			dots += "%2E";
		return dots + "%~";
	}());
}

TEST(Covers, FollowsTheServersRules)
{
	const std::pair<const char *, const char *> yes[] = {
		{"a.b", "a.b"}, {"a.*", "a.b"},	  {"*.b", "a.b"},	{">", "a"},			{">", "a.b.c"},
		{"a.>", "a.b"}, {"a.>", "a.b.c"}, {"a.>", "a.*.c"}, {"a.>", "a.>"},		{">", ">"},
		{">", "*"},		{"*", "*"},		  {"*.*", "*.a"},	{"a.*.>", "a.*.>"}, {"a.*.>", "a.b.>"},
	};
	for (auto [pattern, subject] : yes)
		EXPECT_TRUE(covers(pattern, subject)) << pattern << " " << subject;
	const std::pair<const char *, const char *> no[] = {
		{"a", "b"},		{"a", "a.b"},	{"a.b", "a"}, {"a.*", "a"}, {"a.*", "a.b.c"}, {"a.>", "a"},
		{"a.b", "a.*"}, {"a.*", "a.>"}, {"*", ">"},	  {"a.>", ">"}, {"a.>", "*.b"},	  {"a.*.>", "a.>"},
		{"", "a"},		{"a", ""},		{">", ""},	  {"ab", "a"},	{"a.b", "a.bc"},  {"a.>.b", "a.c.b"},
	};
	for (auto [pattern, subject] : no)
		EXPECT_FALSE(covers(pattern, subject)) << pattern << " " << subject;
}

TEST(StreamName, IsChecked)
{
	for (const char *name : {"a", "ORDERS", "my-5Fdb_flow", "gr\xC3\xBC\xC3\x9F", "a$b"})
		EXPECT_TRUE(check_stream_name(name).ok()) << name;
	EXPECT_TRUE(check_stream_name(std::string(255, 'a')).ok());
	for (std::string_view name : {"", "a b", "a.b", "a*", ">", "a/b", "a\\b", "a%b", "a\"b", "a\tb", "a\x7f"}) {
		auto status = check_stream_name(name);
		ASSERT_FALSE(status.ok()) << name;
		EXPECT_STREQ(status.error().sqlstate, "22023");
		EXPECT_FALSE(status.error().hint.empty());
	}
	EXPECT_FALSE(check_stream_name(std::string(256, 'a')).ok());
	EXPECT_FALSE(check_stream_name(std::string_view{"a\0b", 3}).ok());
}

TEST(StreamName, DefaultIsLegalAndTellsThePairsApart)
{
	EXPECT_EQ(default_stream_name("shop", "all_orders"), "shop_all_orders");
	EXPECT_EQ(default_stream_name("my_shop", "a.b/c\\d"), "my-5Fshop_a-2Eb-2Fc-5Cd");
	EXPECT_NE(default_stream_name("a_b", "c"), default_stream_name("a", "b_c"));
	EXPECT_NE(default_stream_name("a", "_b"), default_stream_name("a_", "b"));
	for (const auto &part : {std::string{}, std::string(63, '_'), std::string(63, '/'), std::string(1000, 'x')})
		EXPECT_TRUE(check_stream_name(default_stream_name(part, part)).ok()) << part;
}

} // namespace
} // namespace pgbraid::core
