// The ceiling of any publisher: the messages of a file (see message_file.h) go to a fresh stream as fast as libnats and
// the server allow. Nothing is decoded, encoded, checked or remembered, and the messages are made before the clock starts.
//
//   publish_ceiling URL FILE STREAM SUBJECT acks|none
//
// acks: an acknowledgement is asked for every 2,000 messages or 1 MB, 16 at most are under way, as a flow does it.
// none: one only, for the last message. Either way the clock stops when the last message has been acknowledged.
// Prints: messages, seconds, seconds of CPU.
#include "message_file.h"

#include <nats/nats.h>

#include <stdbool.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

enum { ack_messages = 2000, ack_bytes = 1 << 20, most_asked = 16 };

static void check(natsStatus status, const char *what)
{
	if (status == NATS_OK)
		return;
	fprintf(stderr, "publish_ceiling: %s: %s\n", what, natsStatus_GetText(status));
	exit(1);
}

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double) time.tv_sec + (double) time.tv_nsec * 1e-9;
}

static double cpu(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
		   (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

static char *read_file(const char *path, size_t *size)
{
	FILE *file = fopen(path, "r");
	if (file == NULL) {
		perror(path);
		exit(1);
	}
	fseek(file, 0, SEEK_END);
	*size = (size_t) ftell(file);
	rewind(file);
	char *bytes = malloc(*size);
	if (bytes == NULL || fread(bytes, 1, *size, file) != *size) {
		perror(path);
		exit(1);
	}
	fclose(file);
	return bytes;
}

struct queue {
	natsMsg **messages;
	bool *asks;
	size_t count;
};

static natsMsg *make(const char *at, const struct message_head *head, const char *reply)
{
	natsMsg *message = NULL;
	const char *header = at + head->subject + 1;
	check(natsMsg_Create(&message, at, reply, header + head->headers + 1, (int) head->payload), "message");
	while (*header != '\0') {
		const char *value = header + strlen(header) + 1;
		check(natsMsgHeader_Set(message, header, value), "header");
		header = value + strlen(value) + 1;
	}
	return message;
}

static struct queue make_messages(const char *bytes, size_t size, const char *inbox, bool acks)
{
	struct queue queue = {NULL, NULL, 0};
	size_t room = 0, since_messages = 0, since_bytes = 0;
	for (const char *at = bytes; at < bytes + size; queue.count++) {
		struct message_head head;
		memcpy(&head, at, sizeof head);
		at += sizeof head;
		size_t body = (size_t) head.subject + head.headers + head.payload + 3;
		if (queue.count == room) {
			room = room * 2 + 1024;
			queue.messages = realloc(queue.messages, room * sizeof *queue.messages);
			queue.asks = realloc(queue.asks, room * sizeof *queue.asks);
		}
		since_messages++;
		since_bytes += head.payload;
		bool ask = at + body == bytes + size || (acks && (since_messages >= ack_messages || since_bytes >= ack_bytes));
		if (ask)
			since_messages = since_bytes = 0;
		queue.messages[queue.count] = make(at, &head, ask ? inbox : NULL);
		queue.asks[queue.count] = ask;
		at += body;
	}
	return queue;
}

static void take_ack(natsSubscription *answers)
{
	natsMsg *answer = NULL;
	check(natsSubscription_NextMsg(&answer, answers, 60000), "acknowledgement");
	if (strstr(natsMsg_GetData(answer), "\"error\"") != NULL) {
		fprintf(stderr, "publish_ceiling: %s\n", natsMsg_GetData(answer));
		exit(1);
	}
	natsMsg_Destroy(answer);
}

static void publish(natsConnection *connection, natsSubscription *answers, const struct queue *queue)
{
	int asked = 0;
	for (size_t i = 0; i < queue->count; i++) {
		check(natsConnection_PublishMsg(connection, queue->messages[i]), "publish");
		if (queue->asks[i] && ++asked > most_asked) {
			take_ack(answers);
			asked--;
		}
	}
	for (; asked > 0; asked--)
		take_ack(answers);
}

static void make_stream(natsConnection *connection, const char *name, const char *subject)
{
	jsCtx *context = NULL;
	jsErrCode code;
	jsStreamConfig config;
	jsStreamConfig_Init(&config);
	config.Name = name;
	config.Subjects = &subject;
	config.SubjectsLen = 1;
	check(natsConnection_JetStream(&context, connection, NULL), "JetStream");
	js_DeleteStream(context, name, NULL, &code);
	check(js_AddStream(NULL, context, &config, NULL, &code), "stream");
	jsCtx_Destroy(context);
}

int main(int argc, char **argv)
{
	natsOptions *options = NULL;
	natsConnection *connection = NULL;
	natsInbox *inbox = NULL;
	natsSubscription *answers = NULL;
	if (argc != 6)
		return 2;
	check(natsOptions_Create(&options), "options");
	check(natsOptions_SetURL(options, argv[1]), "url");
	check(natsOptions_SetIOBufSize(options, 1 << 20), "buffer");
	check(natsConnection_Connect(&connection, options), "connect");
	make_stream(connection, argv[3], argv[4]);
	check(natsInbox_Create(&inbox), "inbox");
	check(natsConnection_SubscribeSync(&answers, connection, inbox), "subscribe");
	size_t size;
	char *bytes = read_file(argv[2], &size);
	struct queue queue = make_messages(bytes, size, inbox, strcmp(argv[5], "acks") == 0);
	double begin = now(), cpu_begin = cpu();
	publish(connection, answers, &queue);
	printf("%zu %.6f %.6f\n", queue.count, now() - begin, cpu() - cpu_begin);
	natsConnection_Destroy(connection);
	nats_Close();
	return 0;
}
