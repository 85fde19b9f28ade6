#include "core/flow/cloudevents.h"
#include "core/flow/debezium.h"
#include "core/flow/event.h"
#include "core/flow/json.h"

#include <gtest/gtest.h>

namespace pgbraid::core {
namespace {

constexpr std::int64_t time_2024 = 769659120123456; // 2024-05-22T02:12:00.123456Z

std::string debezium(const DebeziumFrame &frame, bool is_snapshot, char op)
{
	Bytes table, bytes;
	append_table_frame(table, "public", "t");
	frame.append_source(bytes, is_snapshot, table.view(), 258);
	frame.append_end(bytes, op);
	return std::string{bytes.view()};
}

TEST(Debezium, Change)
{
	DebeziumFrame frame("1.2", "orders", "shop");
	frame.start(300, 745, time_2024);
	EXPECT_EQ(debezium(frame, false, 'c'),
			  R"(,"source":{"version":"1.2","connector":"postgresql","name":"orders","ts_ms":1716343920123,)"
			  R"("snapshot":"false","db":"shop","sequence":"[\"300\",\"258\"]","ts_us":1716343920123456,)"
			  R"("ts_ns":1716343920123456000,"schema":"public","table":"t","txId":745,"lsn":258,"xmin":null},)"
			  R"("op":"c","ts_ms":1716343920123,"ts_us":1716343920123456,"ts_ns":1716343920123456000,)"
			  R"("transaction":null})");
}

TEST(Debezium, Snapshot)
{
	DebeziumFrame frame("1.2", "orders", "shop");
	frame.start(300, 0, time_2024);
	std::string text = debezium(frame, true, 'r');
	EXPECT_NE(text.find(R"("snapshot":"true","db":"shop","sequence":"[null,\"258\"]",)"), text.npos) << text;
	EXPECT_NE(text.find(R"("txId":null,)"), text.npos) << text;
}

TEST(Debezium, NamesAreWrittenInAscii)
{
	DebeziumFrame frame("1", "a\"é", "😀\xff");
	std::string text = debezium(frame, false, 'd');
	EXPECT_NE(text.find(R"("name":"a\"\u00e9",)"), text.npos) << text;
	EXPECT_NE(text.find(R"("db":"\ud83d\ude00\ufffd",)"), text.npos) << text;
}

TEST(Debezium, TimesBefore1970RoundDown)
{
	DebeziumFrame frame("1", "a", "b");
	frame.start(1, 1, -946684800000000 - 1);
	std::string text = debezium(frame, false, 'u');
	EXPECT_NE(text.find(R"("op":"u","ts_ms":-1,"ts_us":-1,"ts_ns":-1000,)"), text.npos) << text;
	frame.start(1, 1, -946684800000000);
	text = debezium(frame, false, 'u');
	EXPECT_NE(text.find(R"("op":"u","ts_ms":0,"ts_us":0,"ts_ns":0,)"), text.npos) << text;
}

std::string header_value(std::string_view text)
{
	Bytes bytes;
	append_header_value(bytes, text);
	return std::string{bytes.view()};
}

TEST(CloudEvents, HeaderValues)
{
	EXPECT_EQ(header_value("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80"); // the example of the binding
	EXPECT_EQ(header_value("a\r\nNats-Msg-Id: 1"), "a%0D%0ANats-Msg-Id:%201");
	EXPECT_EQ(header_value("100%\"x\"\x7f"), "100%25%22x%22%7F");
	EXPECT_EQ(header_value("\xff"), "%EF%BF%BD");
	EXPECT_EQ(header_value("~!a"), "~!a");
}

TEST(CloudEvents, Headers)
{
	Bytes subject, bytes;
	append_cloudevent_subject(subject, "public", "Order items");
	CloudEventFrame frame(77, "shop", "all rows", false);
	frame.start(time_2024);
	frame.append_headers(bytes, "insert", subject.view());
	append_cloudevent_id(bytes, {77, "1-1"}, {7, 3});
	EXPECT_EQ(bytes.view(), "ce-specversion: 1.0\r\n"
							"ce-source: pgbraid://77/shop/all%2520rows\r\n"
							"ce-datacontenttype: application/json\r\n"
							"content-type: application/json\r\n"
							"ce-type: pgbraid.insert\r\n"
							"ce-subject: public.Order%20items\r\n"
							"ce-time: 2024-05-22T02:12:00.123456Z\r\n"
							"ce-id: 77.1-1.0000000000000007.3\r\n");
}

TEST(CloudEvents, Lines)
{
	CloudEventFrame frame(77, "shop", "f", true);
	Bytes bytes;
	frame.append_headers(bytes, "insert", "");
	EXPECT_NE(bytes.view().find("\r\ncontent-type: application/x-ndjson\r\n"), std::string_view::npos);
}

} // namespace
} // namespace pgbraid::core
