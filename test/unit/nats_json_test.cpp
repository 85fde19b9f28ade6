#include "nats/json.h"

#include "nats/error.h"

#include <gtest/gtest.h>

namespace pgbraid::nats {
namespace {

TEST(NatsJson, FindsMembersInAnyOrder)
{
	std::string text = R"( { "a" : { "seq":1, "x":"}\"{" }, "list":[1,[2],{"seq":3}], "seq" : 42 , "t":true,"n":null})";
	EXPECT_EQ(json_number(json_member(text, "seq")), 42u);
	EXPECT_EQ(json_member(text, "list"), R"([1,[2],{"seq":3}])");
	EXPECT_EQ(json_number(json_member(json_member(text, "a"), "seq")), 1u);
	EXPECT_EQ(json_string(json_member(json_member(text, "a"), "x")), "}\"{");
	EXPECT_EQ(json_member(text, "t"), "true");
	EXPECT_EQ(json_member(text, "absent"), "");
}

TEST(NatsJson, Unescapes)
{
	EXPECT_EQ(json_string(R"("orders.\u003e \n\t\\\/ \u00e9 \u20ac \ud83d\ude00")"), "orders.> \n\t\\/ é € 😀");
	EXPECT_EQ(json_strings(R"([ "a" , "b,]" ])"), (std::vector<std::string>{"a", "b,]"}));
	EXPECT_EQ(json_strings("[]"), std::vector<std::string>{});
	EXPECT_EQ(json_strings("null"), std::vector<std::string>{});
	EXPECT_EQ(json_array({"a", "b\"c"}), R"(["a","b\"c"])");
}

TEST(NatsJson, SurvivesWhatIsNoJson)
{
	std::string text =
		R"({"error":{"code":400,"err_code":10071,"description":"wrong \u0061 \"x\""},"stream":"S","seq":0})";
	for (std::size_t size = 0; size <= text.size(); size++) {
		auto part = std::string_view(text).substr(0, size);
		server_error(part);
		json_strings(part);
		json_string(part);
		for (auto &c : {"}", "{", "\"", "\\", "[", "]", ",", ":"})
			json_member(std::string(part) + c, "seq");
	}
	auto error = server_error(text);
	EXPECT_EQ(error.code, 10071u);
	EXPECT_EQ(error.description, "wrong a \"x\"");
	EXPECT_EQ(server_error(R"({"stream":"S","seq":7})").code, 0u);
	EXPECT_EQ(server_error(R"({"error":{"code":503}})").code, 503u);
	EXPECT_EQ(server_error(R"({"error":{}})").code, 1u);
}

} // namespace
} // namespace pgbraid::nats
