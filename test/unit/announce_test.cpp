#include "core/flow/announcement.h"
#include "core/flow/base64.h"
#include "core/flow/oversize.h"
#include "core/flow/schema.h"
#include "core/flow/subject.h"

#include <gtest/gtest.h>

namespace pgbraid::core {
namespace {

const History history{12, "1-1"};
constexpr std::size_t max_payload = 4096, piece_size = max_payload - 1024; // less the headers of the event

void add(Batch &batch, std::string_view payload, Position position = {7, 3}, std::string_view subject = "s.t")
{
	batch.begin(subject, history, position, "A: 1\r\n");
	batch.payload().append(payload);
	batch.end();
}

std::string noise(std::size_t size)
{
	std::string text;
	for (std::size_t i = 0; i < size; i++)
		text += static_cast<char>('a' + i * i % 23);
	return text;
}

std::string joined(const Batch &batch)
{
	std::string text;
	for (std::size_t i = 0; i < batch.size(); i++)
		text += batch[i].payload;
	return text;
}

// The tail that the stream has after this message.
StreamTail tail_after(const Batch::Message &message)
{
	StreamTail tail{1, parse_message_id(message.id)};
	auto value = [&](std::string_view name) {
		auto at = message.headers.find(name);
		auto rest = at == message.headers.npos ? std::string_view() : message.headers.substr(at + name.size() + 2);
		return rest.substr(0, rest.find("\r\n"));
	};
	tail.piece = parse_piece(value("Pgbraid-Part"), value("Pgbraid-Size"), value("Pgbraid-Hash"));
	tail.subject = message.subject;
	return tail;
}

TEST(Pieces, CoverThePayloadAndAreAsFewAsCanBe)
{
	for (std::size_t size : {1, 2, 9, 10, 11, 99, 100, 101, 1000})
		for (std::size_t most : {1, 2, 3, 7, 10, 100, 999, 1000, 1001}) {
			std::string payload = noise(size);
			Division division = divide(payload, most);
			EXPECT_EQ(division.count, (size + most - 1) / most);
			EXPECT_EQ(division.begin(1), 0u);
			EXPECT_EQ(division.end(division.count), size);
			for (std::uint32_t i = 1; i <= division.count; i++) {
				EXPECT_GT(division.end(i), division.begin(i)) << size << ' ' << most << ' ' << i;
				EXPECT_LE(division.end(i) - division.begin(i), most);
			}
		}
	EXPECT_EQ(divide("", 5).count, 1u);
	EXPECT_NE(divide("abc", 1), divide("abd", 1));
}

TEST(Pieces, HeadersAreReadBack)
{
	Division division = divide(noise(10), 4);
	Bytes headers;
	append_piece_headers(headers, division, 2);
	EXPECT_EQ(headers.view().substr(0, 36), "Pgbraid-Part: 2/3\r\nPgbraid-Size: 10\r");
	EXPECT_EQ(parse_piece("2/3", "10", "0123456789ABCDEF")->number, 2u);
	EXPECT_EQ(parse_piece("2/3", "10", "0123456789ABCDEF")->division.hash, 0x0123456789abcdefu);
	for (const char *part : {"", "2", "2/", "/3", "0/3", "4/3", "2/3x", "-1/3", " 2/3"})
		EXPECT_FALSE(parse_piece(part, "10", "0123456789ABCDEF")) << part;
	EXPECT_FALSE(parse_piece("2/3", "", "0123456789ABCDEF"));
	EXPECT_FALSE(parse_piece("2/3", "10", "0123456789ABCDE"));
	EXPECT_FALSE(parse_piece("2/3", "10", "0123456789ABCDEX"));
}

TEST(Oversize, LeavesAloneWhatFits)
{
	Oversize oversize(OversizeMode::split, history, max_payload, {});
	Batch batch;
	add(batch, noise(piece_size - 6));
	EXPECT_FALSE(oversize.is_too_large(batch[0]));
	batch.drop_last();
	EXPECT_EQ(batch.bytes(), 0u);
	add(batch, noise(piece_size - 5));
	EXPECT_TRUE(oversize.is_too_large(batch[0]));
}

TEST(Oversize, SplitsIntoPiecesOfWhichTheLastIsTheEvent)
{
	Oversize oversize(OversizeMode::split, history, max_payload, {});
	Batch batch;
	std::string payload = noise(10000);
	add(batch, "first", {7, 2});
	add(batch, payload);
	oversize.split(batch);
	add(batch, "last", {7, 4});
	ASSERT_EQ(batch.size(), 6u);
	EXPECT_EQ(joined(batch), "first" + payload + "last");
	EXPECT_EQ(batch[1].id, "12.1-1.0000000000000007.3.1");
	EXPECT_EQ(batch[3].id, "12.1-1.0000000000000007.3.3");
	EXPECT_EQ(batch[4].id, "12.1-1.0000000000000007.3");
	EXPECT_TRUE(batch[4].headers.starts_with("A: 1\r\nPgbraid-Part: 4/4\r\nPgbraid-Size: 10000\r\n"));
	for (std::size_t i = 0; i + 1 < batch.size(); i++) {
		EXPECT_LT(batch[i].position, batch[i + 1].position);
		EXPECT_LE(batch[i].payload.size() + batch[i].headers.size(), max_payload);
		EXPECT_EQ(batch[i].subject, "s.t");
	}
}

TEST(Oversize, GoesOnAfterThePieceThatTheStreamEndsWith)
{
	std::string payload = noise(10000);
	Batch whole;
	add(whole, payload);
	Oversize(OversizeMode::split, history, max_payload, {}).split(whole);
	for (std::size_t stored = 0; stored + 1 < whole.size(); stored++) {
		Batch rest;
		add(rest, payload);
		Oversize(OversizeMode::split, history, max_payload, tail_after(whole[stored])).split(rest);
		ASSERT_EQ(rest.size(), whole.size() - stored - 1);
		for (std::size_t i = 0; i < rest.size(); i++) {
			EXPECT_EQ(rest[i].id, whole[stored + 1 + i].id);
			EXPECT_EQ(rest[i].headers, whole[stored + 1 + i].headers);
			EXPECT_EQ(rest[i].payload, whole[stored + 1 + i].payload);
		}
	}
}

TEST(Oversize, BeginsAnewWithOtherIdsWhereTheCutsWouldBeOthers)
{
	std::string payload = noise(10000), other = payload;
	other[9000] = '!';
	Batch whole;
	add(whole, payload);
	Oversize(OversizeMode::split, history, max_payload, {}).split(whole);
	StreamTail tail = tail_after(whole[1]);
	auto expect_anew = [&](std::string_view text, std::size_t limit, std::string_view subject) {
		Batch again;
		add(again, text, {7, 3}, subject);
		Oversize(OversizeMode::split, history, limit, tail).split(again);
		EXPECT_EQ(joined(again), text);
		EXPECT_EQ(again[0].position, (Position{7, 3, 3}));
		EXPECT_EQ(again[again.size() - 1].position, (Position{7, 3}));
	};
	expect_anew(payload, max_payload + 1000, "s.t");
	expect_anew(payload, 2048, "s.t");
	expect_anew(other, max_payload, "s.t");
	expect_anew(payload, max_payload, "s.u");
	// Begun anew, and interrupted again.
	Batch again;
	add(again, payload);
	Oversize(OversizeMode::split, history, 2048, tail).split(again);
	tail = tail_after(again[2]);
	Batch rest;
	add(rest, payload);
	Oversize(OversizeMode::split, history, 2048, tail).split(rest);
	EXPECT_EQ(rest[0].id, again[3].id);
	EXPECT_EQ(rest[0].headers, again[3].headers);
}

TEST(Oversize, CaresForTheTailOfItsOwnHistoryAndEventOnly)
{
	std::string payload = noise(10000);
	Batch whole;
	add(whole, payload);
	Oversize(OversizeMode::split, history, max_payload, {}).split(whole);
	StreamTail tail = tail_after(whole[1]);
	tail.last->history.epoch = "1-2";
	Batch batch;
	add(batch, payload);
	Oversize(OversizeMode::split, history, max_payload, tail).split(batch);
	EXPECT_EQ(batch.size(), whole.size());
	Batch next;
	add(next, payload, {7, 4});
	Oversize(OversizeMode::split, history, max_payload, tail_after(whole[1])).split(next);
	EXPECT_EQ(next[0].position, (Position{7, 4, 1}));
}

TEST(Oversize, MarksASnapshotsRowWithItsLastPieceOnly)
{
	Oversize oversize(OversizeMode::split, history, max_payload, {});
	for (std::string before : {"", "3/16384/41"}) {
		Batch batch;
		batch.begin("s.t", history, {7, 3}, "Pgbraid-Op: snapshot\r\nPgbraid-Snapshot: 3/16384/42\r\nA: 1\r\n");
		batch.payload().append(noise(7000));
		batch.end();
		oversize.split(batch, before);
		ASSERT_EQ(batch.size(), 3u);
		std::string mark = before.empty() ? "" : "Pgbraid-Snapshot: " + before + "\r\n";
		EXPECT_TRUE(batch[0].headers.starts_with("Pgbraid-Op: snapshot\r\n" + mark + "A: 1\r\nPgbraid-Part: 1/3"));
		EXPECT_TRUE(batch[1].headers.starts_with("Pgbraid-Op: snapshot\r\n" + mark + "A: 1\r\nPgbraid-Part: 2/3"));
		EXPECT_TRUE(batch[2].headers.starts_with(
			"Pgbraid-Op: snapshot\r\nPgbraid-Snapshot: 3/16384/42\r\nA: 1\r\nPgbraid-Part: 3/3"));
	}
}

TEST(Shape, IsWrittenPieceByPiece)
{
	Bytes text;
	ShapeWriter shape(text);
	shape.column("id", "bigint", false, true);
	shape.column("a \"b\"", "character varying(10)", true, false);
	shape.key("id");
	shape.finish("default");
	EXPECT_EQ(text.view(),
			  "\"columns\":[{\"name\":\"id\",\"type\":\"bigint\",\"nullable\":false,\"key\":true},"
			  "{\"name\":\"a \\\"b\\\"\",\"type\":\"character varying(10)\",\"nullable\":true,\"key\":false}],"
			  "\"key\":[\"id\"],\"identity\":\"default\"");
	text.clear();
	ShapeWriter(text).finish("full");
	EXPECT_EQ(text.view(), R"("columns":[],"key":[],"identity":"full")");
}

TEST(SchemaHistory, CountsTheShapesOfATable)
{
	SchemaHistory schemas;
	EXPECT_EQ(schemas.at(1, {10, 1}, "t", "a").version, 1u);
	EXPECT_EQ(schemas.at(1, {11, 1}, "t", "a").since, (Position{10, 1, 0}));
	EXPECT_EQ(schemas.at(1, {12, 5}, "t", "b").version, 2u);
	EXPECT_EQ(schemas.at(1, {13, 1}, "renamed", "b").version, 3u);
	EXPECT_EQ(schemas.at(2, {13, 1}, "u", "a").version, 1u);
	EXPECT_EQ(schemas.unsaved().size(), 4u);
	schemas.saved();
	EXPECT_TRUE(schemas.unsaved().empty());
}

TEST(SchemaHistory, GivesTheSameVersionsWhenItIsAskedAgain)
{
	SchemaHistory schemas;
	schemas.restore(1, {2, {20, 3, 0}, "t", "b"});
	schemas.restore(1, {1, {10, 1, 0}, "t", "a"});
	EXPECT_EQ(schemas.at(1, {15, 1}, "t", "a").version, 1u);
	EXPECT_EQ(schemas.at(1, {20, 2}, "t", "a").version, 1u);
	EXPECT_EQ(schemas.at(1, {20, 3}, "t", "b").version, 2u);
	EXPECT_EQ(schemas.at(1, {20, 3}, "t", "b").since, (Position{20, 3, 0}));
	EXPECT_TRUE(schemas.unsaved().empty());
	EXPECT_EQ(schemas.at(1, {20, 2}, "t", "c").version, 2u); // what came later is no more
	EXPECT_EQ(schemas.at(1, {20, 3}, "t", "b").version, 3u);
	EXPECT_EQ(schemas.unsaved().size(), 2u);
}

TEST(SchemaHistory, LetsATableGoOnForOneOfTheSameName)
{
	SchemaHistory schemas;
	schemas.at(1, {10, 1}, "t", "a");
	schemas.at(1, {11, 1}, "t", "b");
	EXPECT_EQ(schemas.at(2, {12, 1}, "t", "b").version, 3u);
	EXPECT_EQ(schemas.at(2, {12, 1}, "t", "b").since, (Position{12, 1, 0}));
	EXPECT_EQ(schemas.at(3, {13, 1}, "u", "b").version, 1u);
}

TEST(Announcement, BeginAndCommit)
{
	TransactionFrame transaction;
	transaction.start(0x1A2B3C4D, 745, 0);
	Bytes text;
	append_begin(text, transaction);
	EXPECT_EQ(text.view(), R"({"op":"begin","lsn":"0/1A2B3C4D","seq":0,"xid":745,"ts":"2000-01-01T00:00:00.000000Z"})");
	text.clear();
	append_commit(text, transaction, 4, 2);
	EXPECT_EQ(text.view(),
			  R"({"op":"commit","lsn":"0/1A2B3C4D","seq":4,"xid":745,"ts":"2000-01-01T00:00:00.000000Z","events":2})");
}

TEST(Base64, IsThatOfTheStandard)
{
	auto encoded = [](std::string_view bytes) {
		Bytes text;
		append_base64(text, bytes);
		EXPECT_EQ(decode_base64(text.view()), bytes);
		return std::string(text.view());
	};
	EXPECT_EQ(encoded(""), "");
	EXPECT_EQ(encoded("f"), "Zg==");
	EXPECT_EQ(encoded("fo"), "Zm8=");
	EXPECT_EQ(encoded("foobar"), "Zm9vYmFy");
	EXPECT_EQ(encoded(std::string_view("\xff\x00\xfe", 3)), "/wD+");
}

TEST(SubjectKinds, HavePlaceholdersOfTheirOwn)
{
	auto message = SubjectTemplate::parse("m.{database}.{prefix}", SubjectKind::message);
	ASSERT_TRUE(message.ok());
	Bytes subject;
	message->render(subject, {.database = "d", .schema = {}, .table = {}, .op = {}, .key = {}, .prefix = "a.b"});
	EXPECT_EQ(subject.view(), "m.d.a%2Eb");
	EXPECT_EQ(message->pattern({.database = "d", .schema = {}, .table = {}, .op = {}, .key = {}}), "m.d.*");
	EXPECT_FALSE(SubjectTemplate::parse("m.{table}", SubjectKind::message).ok());
	EXPECT_FALSE(SubjectTemplate::parse("m.{prefix}").ok());
	EXPECT_FALSE(SubjectTemplate::parse("m.{prefix}", SubjectKind::transaction).ok());
	EXPECT_TRUE(SubjectTemplate::parse("m.{database}", SubjectKind::transaction).ok());
}

} // namespace
} // namespace pgbraid::core
