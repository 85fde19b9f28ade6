#include "core/flow/cloudevents.h"

#include "core/flow/json.h"

namespace pgbraid::core {
namespace {

void append_percent(Bytes &to, char c)
{
	to.append('%');
	append_hex(to, static_cast<unsigned char>(c), 2);
}

bool is_unreserved(char c) // in a URI (RFC 3986)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
		   c == '_' || c == '~';
}

bool is_plain_in_header(char c)
{
	return c > ' ' && c <= '~' && c != '"' && c != '%';
}

Bytes repaired(std::string_view text)
{
	Bytes copy;
	copy.append(text);
	repair_utf8(copy, 0);
	return copy;
}

void append_uri_segment(Bytes &to, std::string_view text)
{
	Bytes copy = repaired(text);
	for (char c : copy.view())
		is_unreserved(c) ? to.append(c) : append_percent(to, c);
}

} // namespace

void append_header_value(Bytes &to, std::string_view utf8)
{
	Bytes copy = repaired(utf8);
	for (char c : copy.view())
		is_plain_in_header(c) ? to.append(c) : append_percent(to, c);
}

void append_cloudevent_subject(Bytes &to, std::string_view schema, std::string_view table)
{
	to.append("ce-subject: ");
	append_header_value(to, schema);
	to.append('.');
	append_header_value(to, table);
	to.append("\r\n");
}

CloudEventFrame::CloudEventFrame(std::uint64_t system, std::string_view database, std::string_view flow, bool lines)
{
	Bytes uri, header;
	uri.append("pgbraid://" + std::to_string(system) + "/");
	append_uri_segment(uri, database);
	uri.append('/');
	append_uri_segment(uri, flow);
	append_header_value(header, uri.view());
	std::string type = lines ? "application/x-ndjson" : "application/json";
	constant_ = "ce-specversion: 1.0\r\nce-source: " + std::string{header.view()} + "\r\nce-datacontenttype: " + type +
				"\r\ncontent-type: " + type + "\r\n";
}

void CloudEventFrame::start(std::int64_t commit_time)
{
	time_.clear();
	time_.append("ce-time: ");
	append_timestamp(time_, commit_time);
	time_.append("\r\n");
}

void CloudEventFrame::append_headers(Bytes &to, std::string_view op, std::string_view subject) const
{
	to.append(constant_);
	to.append("ce-type: pgbraid.");
	to.append(op);
	to.append("\r\n");
	to.append(subject);
	to.append(time_.view());
}

void append_cloudevent_id(Bytes &to, const History &history, Position position)
{
	to.append("ce-id: ");
	append_message_id(to, history, position);
	to.append("\r\n");
}

} // namespace pgbraid::core
