// A template that parses renders a legal subject whatever the values are, and its pattern covers it.
#include "core/flow/subject.h"

#include <cstdlib>
#include <initializer_list>

using namespace pgbraid::core;

namespace {

void require(bool holds)
{
	if (!holds)
		std::abort();
}

bool is_subject(std::string_view text)
{
	char before = '.';
	for (char c : text) {
		if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f || c == '*' || c == '>' || (c == '.' && before == '.'))
			return false;
		before = c;
	}
	return before != '.' && text.front() != '$';
}

std::string_view take_line(std::string_view &input)
{
	auto end = input.find('\n');
	auto line = input.substr(0, end);
	input.remove_prefix(end == input.npos ? input.size() : end + 1);
	return line;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
	std::string_view input{reinterpret_cast<const char *>(data), size};
	auto text = take_line(input);
	auto absent = take_line(input);
	SubjectValues values;
	for (auto *value : {&values.database, &values.schema, &values.table, &values.op})
		*value = take_line(input);
	values.key = input;
	require(check_stream_name(default_stream_name(values.database, values.key)).ok());

	auto parsed = SubjectTemplate::parse(text);
	if (!parsed)
		return 0;
	Bytes subject;
	parsed->render(subject, values);
	require(is_subject(subject.view()) && subject.size() <= 2560);
	require(covers(subject.view(), subject.view()) && covers(">", subject.view()));
	SubjectValues known = values;
	for (char c : absent)
		*(c == 'd'	 ? &known.database
		  : c == 's' ? &known.schema
		  : c == 't' ? &known.table
		  : c == 'o' ? &known.op
					 : &known.key) = {};
	auto pattern = parsed->pattern(known);
	require(covers(pattern, subject.view()) && covers(pattern, pattern) && covers(parsed->pattern({}), pattern));
	return 0;
}
