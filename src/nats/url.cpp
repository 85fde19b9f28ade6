#include "nats/url.h"

#include <charconv>

namespace pgbraid::nats {
namespace {

constexpr const char *invalid_parameter = "22023";

Error bad_url(std::string message)
{
	return {invalid_parameter,
			std::move(message),
			{},
			"Use nats://host:port or tls://host:port; several are separated by commas."};
}

std::string_view trim(std::string_view text)
{
	constexpr std::string_view blanks = " \t\r\n";
	auto begin = text.find_first_not_of(blanks);
	if (begin == std::string_view::npos)
		return {};
	return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

std::string percent_decode(std::string_view text)
{
	std::string decoded;
	for (std::size_t i = 0; i < text.size(); i++) {
		unsigned char byte = 0;
		const char *hex = text.data() + i + 1;
		if (text[i] == '%' && i + 2 < text.size() && std::from_chars(hex, hex + 2, byte, 16).ptr == hex + 2) {
			decoded += static_cast<char>(byte);
			i += 2;
		} else {
			decoded += text[i];
		}
	}
	return decoded;
}

void read_credentials(Endpoint &endpoint, std::string_view text)
{
	auto colon = text.find(':');
	if (colon == std::string_view::npos) {
		endpoint.token = percent_decode(text);
	} else {
		endpoint.user = percent_decode(text.substr(0, colon));
		endpoint.password = percent_decode(text.substr(colon + 1));
	}
}

bool is_port(std::string_view text)
{
	unsigned port = 0;
	auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
	return error == std::errc() && end == text.data() + text.size() && port > 0 && port < 65536;
}

} // namespace

Result<Endpoint> parse_endpoint(std::string_view url)
{
	Endpoint endpoint;
	std::string_view rest = url;
	if (auto scheme = url.find("://"); scheme != std::string_view::npos) {
		auto name = url.substr(0, scheme);
		if (name != "nats" && name != "tls")
			return bad_url("NATS is not reached by \"" + std::string(name) + "://\"");
		endpoint.tls = name == "tls";
		rest = url.substr(scheme + 3);
	}
	if (auto at = rest.rfind('@'); at != std::string_view::npos) {
		read_credentials(endpoint, rest.substr(0, at));
		rest = rest.substr(at + 1);
	}
	rest = rest.substr(0, rest.find('/'));
	auto bracket = rest.starts_with('[') ? rest.find(']') : std::string_view::npos;
	auto colon = rest.find(':', bracket == std::string_view::npos ? 0 : bracket);
	auto host = rest.substr(0, colon);
	auto port = colon == std::string_view::npos ? std::string_view("4222") : rest.substr(colon + 1);
	endpoint.host = bracket == std::string_view::npos ? host : host.substr(1, bracket - 1);
	if (endpoint.host.empty() || rest.find_first_of(" \t\r\n") != std::string_view::npos)
		return bad_url("a URL of NATS names no host");
	if (!is_port(port))
		return bad_url("a URL of NATS has an invalid port: \"" + std::string(port) + "\"");
	endpoint.address = (endpoint.tls ? "tls://" : "nats://") + std::string(host) + ":" + std::string(port);
	return endpoint;
}

Result<std::vector<std::string>> parse_urls(std::string_view list)
{
	std::vector<std::string> urls;
	while (!list.empty()) {
		auto comma = list.find(',');
		auto url = trim(list.substr(0, comma));
		list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
		if (url.empty())
			continue;
		auto endpoint = parse_endpoint(url);
		if (!endpoint.ok())
			return endpoint.error();
		urls.emplace_back(url);
	}
	if (urls.empty())
		return bad_url("no URL of NATS is given");
	return urls;
}

std::string printable(const std::vector<std::string> &urls)
{
	std::string text;
	for (auto &url : urls) {
		auto endpoint = parse_endpoint(url);
		text += text.empty() ? "" : ", ";
		text += endpoint.ok() ? endpoint->address : "(invalid)";
	}
	return text;
}

} // namespace pgbraid::nats
