// CloudEvents 1.0 in the binary mode of its NATS protocol binding: attributes are headers, data is the payload.
#pragma once
#include "core/base/bytes.h"
#include "core/flow/position.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace pgbraid::core {

// An attribute as the value of a header: everything but the visible ASCII characters, and '"' and '%', becomes %XX. So
// no value can end its line. What is no UTF-8 becomes U+FFFD.
void append_header_value(Bytes &to, std::string_view utf8);

// "ce-subject: <schema>.<table>\r\n"
void append_cloudevent_subject(Bytes &to, std::string_view schema, std::string_view table);

class CloudEventFrame {
public:
	// The source is pgbraid://<system identifier>/<database>/<flow>. Names in UTF-8. `lines`: the data is not one JSON
	// text, but one a line.
	CloudEventFrame(std::uint64_t system, std::string_view database, std::string_view flow, bool lines);

	// As TransactionFrame::start.
	void start(std::int64_t commit_time);

	// Lines of headers, all but ce-id. `subject` is what append_cloudevent_subject wrote.
	void append_headers(Bytes &to, std::string_view op, std::string_view subject) const;

private:
	std::string constant_;
	Bytes time_; // "ce-time: ...\r\n"
};

// "ce-id: <message id>\r\n"
void append_cloudevent_id(Bytes &to, const History &history, Position position);

} // namespace pgbraid::core
