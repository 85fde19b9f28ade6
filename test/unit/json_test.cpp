#include "core/flow/json.h"

#include <gtest/gtest.h>
#include <limits>
#include <random>

namespace pgbraid::core {
namespace {

std::string string_of(std::string_view text)
{
	Bytes bytes;
	append_json_string(bytes, text);
	return std::string{bytes.view()};
}

std::string verbatim(std::string_view text)
{
	Bytes bytes;
	bytes.append('<');
	append_json_verbatim(bytes, text);
	return std::string{bytes.view(1)};
}

// Byte by byte, as RFC 8259 and PostgreSQL's escape_json say.
std::string slow_string(std::string_view text)
{
	std::string result = "\"";
	for (char c : text) {
		auto byte = static_cast<unsigned char>(c);
		char code[8];
		std::snprintf(code, sizeof(code), "\\u%04x", byte);
		switch (c) {
			case '"': result += "\\\""; break;
			case '\\': result += "\\\\"; break;
			case '\b': result += "\\b"; break;
			case '\f': result += "\\f"; break;
			case '\n': result += "\\n"; break;
			case '\r': result += "\\r"; break;
			case '\t': result += "\\t"; break;
			default: result += byte < 0x20 ? std::string{code} : std::string{c};
		}
	}
	return result + "\"";
}

std::string repaired(std::string_view text, std::string_view before = "")
{
	Bytes bytes;
	bytes.append(before);
	bytes.append(text);
	repair_utf8(bytes, before.size());
	return std::string{bytes.view()};
}

const std::string bad = "\xEF\xBF\xBD";

TEST(JsonString, EscapesAsTheStandardSays)
{
	EXPECT_EQ(string_of(""), "\"\"");
	EXPECT_EQ(string_of("plain"), "\"plain\"");
	EXPECT_EQ(string_of("say \"hi\" \\ bye/"), R"("say \"hi\" \\ bye/")");
	EXPECT_EQ(string_of("\b\f\n\r\t"), R"("\b\f\n\r\t")");
	EXPECT_EQ(string_of(std::string_view{"\0\x01\x0b\x1f", 4}), R"("\u0000\u0001\u000b\u001f")");
	EXPECT_EQ(string_of("\x7f\xC3\xA9\xF0\x9D\x84\x9E"), "\"\x7f\xC3\xA9\xF0\x9D\x84\x9E\"");
}

TEST(JsonString, EveryByteAtEveryOffset)
{
	for (std::size_t size : {1u, 7u, 8u, 9u, 15u, 16u, 17u, 31u, 33u, 40u})
		for (std::size_t at = 0; at < size; at++)
			for (int c = 0; c < 256; c++) {
				std::string text(size, 'x');
				text[at] = static_cast<char>(c);
				ASSERT_EQ(string_of(text), slow_string(text)) << size << " " << at << " " << c;
			}
}

TEST(JsonString, RandomTextAcrossChunks)
{
	std::mt19937 random(2);
	for (int i = 0; i < 300; i++) {
		std::string text(random() % 20000, ' ');
		auto special = 1 + random() % 100;
		for (char &c : text)
			c = random() % special == 0 ? static_cast<char>(random()) : static_cast<char>('a' + random() % 26);
		ASSERT_EQ(string_of(text), slow_string(text));
	}
	for (std::size_t size : {4095u, 4096u, 4097u, 8192u, 8193u}) {
		ASSERT_EQ(string_of(std::string(size, '\x01')), slow_string(std::string(size, '\x01')));
		ASSERT_EQ(string_of(std::string(size, 'a')), slow_string(std::string(size, 'a')));
	}
}

TEST(JsonString, AppendsAfterWhatIsThere)
{
	Bytes bytes;
	bytes.append("{\"a\":");
	append_json_string(bytes, "b");
	append_json_integer(bytes, 5);
	EXPECT_EQ(bytes.view(), "{\"a\":\"b\"5");
}

TEST(JsonVerbatim, KeepsEverythingButLineBreaksAndTabs)
{
	EXPECT_EQ(verbatim(""), "");
	EXPECT_EQ(verbatim("{\n\t\"a\" : [1,\r\n2] }"), "{  \"a\" : [1,  2] }");
	EXPECT_EQ(verbatim("\"\\n\\t \xC3\xA9\x7f\""), "\"\\n\\t \xC3\xA9\x7f\"");
	std::mt19937 random(3);
	for (std::size_t size = 0; size < 70; size++) {
		std::string text(size, ' '), expected;
		for (char &c : text) {
			c = "\n\r\tab \xff\x80"[random() % 8];
			expected += c == '\n' || c == '\r' || c == '\t' ? ' ' : c;
		}
		EXPECT_EQ(verbatim(text), expected);
	}
}

TEST(Utf8, LengthOfTheFirstSequence)
{
	const std::pair<std::string_view, std::size_t> cases[] = {
		{"", 0},
		{"a", 1},
		{"\x7f", 1},
		{"\x80", 0},
		{"\xC0\x80", 0},
		{"\xC1\xBF", 0},
		{"\xC2\x80", 2},
		{"\xDF\xBFz", 2},
		{"\xC2", 0},
		{"\xC2z", 0},
		{"\xE0\x9F\xBF", 0},
		{"\xE0\xA0\x80", 3},
		{"\xED\x9F\xBF", 3},
		{"\xED\xA0\x80", 0},
		{"\xED\xBF\xBF", 0},
		{"\xEE\x80\x80", 3},
		{"\xEF\xBF\xBF", 3},
		{"\xE2\x82", 0},
		{"\xE2\x82z", 0},
		{"\xF0\x8F\xBF\xBF", 0},
		{"\xF0\x90\x80\x80", 4},
		{"\xF4\x8F\xBF\xBF", 4},
		{"\xF4\x90\x80\x80", 0},
		{"\xF5\x80\x80\x80", 0},
		{"\xF0\x9F\x98", 0},
		{"\xF0\x9F\x98z", 0},
		{"\xFE", 0},
		{"\xFF", 0},
	};
	for (auto [text, length] : cases)
		EXPECT_EQ(utf8_length(text), length) << testing::PrintToString(text);
	EXPECT_EQ(utf8_length(std::string_view{"\0", 1}), 1u);
}

TEST(Utf8, EveryCodePointIsWellFormedAndSurrogatesAreNot)
{
	for (unsigned code = 0x80; code < 0x110000; code++) {
		std::string text;
		if (code >= 0x10000)
			text = {static_cast<char>(0xf0 | code >> 18), static_cast<char>(0x80 | (code >> 12 & 63))};
		else if (code >= 0x800)
			text = {static_cast<char>(0xe0 | code >> 12)};
		else
			text = {static_cast<char>(0xc0 | code >> 6)};
		if (code >= 0x800)
			text += static_cast<char>(0x80 | (code >> 6 & 63));
		text += static_cast<char>(0x80 | (code & 63));
		bool surrogate = code >= 0xd800 && code < 0xe000;
		ASSERT_EQ(utf8_length(text), surrogate ? 0 : text.size()) << code;
		ASSERT_EQ(utf8_length(std::string_view{text}.substr(0, text.size() - 1)), 0u) << code;
	}
}

TEST(RepairUtf8, ReplacesEachBadByte)
{
	EXPECT_EQ(repaired("plain and \xC3\xA9"), "plain and \xC3\xA9");
	EXPECT_EQ(repaired("a\xFFz"), "a" + bad + "z");
	EXPECT_EQ(repaired("\xC0\xAF"), bad + bad);
	EXPECT_EQ(repaired("\xED\xA0\x80"), bad + bad + bad);
	EXPECT_EQ(repaired("abc\xE2\x82"), "abc" + bad + bad);
	EXPECT_EQ(repaired("\xE2\x82\xC3\xA9"), bad + bad + "\xC3\xA9");
	EXPECT_EQ(repaired(std::string(100, '\x80')).size(), 300u);
	EXPECT_EQ(repaired("12345678\x80"
					   "12345678"),
			  "12345678" + bad + "12345678");
}

TEST(RepairUtf8, LeavesWhatIsBeforeAlone)
{
	EXPECT_EQ(repaired("\xFFz", "\xFE"), "\xFE" + bad + "z");
	EXPECT_EQ(repaired("\xA9", "\xC3"), "\xC3" + bad);
	EXPECT_EQ(repaired("", "\xC3"), "\xC3");
}

TEST(RepairUtf8, DoesNotTouchGoodText)
{
	Bytes bytes;
	bytes.append("gut \xE2\x82\xAC");
	const char *data = bytes.data();
	repair_utf8(bytes, 0);
	EXPECT_EQ(bytes.data(), data);
	EXPECT_EQ(bytes.view(), "gut \xE2\x82\xAC");
	Bytes none;
	repair_utf8(none, 0);
	EXPECT_TRUE(none.empty());
}

} // namespace
} // namespace pgbraid::core
