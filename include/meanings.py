"""What an error's code means and what to do, in a sentence or two. `include.reasons` puts them behind the code.

Sources: the error lists of the S3 API reference, of Kafka's protocol guide and of librdkafka's `rd_kafka_resp_err_t`.
"""

from __future__ import annotations

from http import HTTPStatus

_ROLE = "Compare the program's role and the bucket policy with docs/aws-reference.md."
_KEYS = "Check the AWS credentials of this process."
_LOGIN = "Check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM (the monitor: kafka_default)."
_IAM = "With AWS_MSK_IAM look at the log's warning about the token, and at the role's kafka-cluster rights."
_ACL = "Give the user that right on the brokers (docs/security.md)."
_BROKER = "Check that the brokers run, and the address in KAFKA_BOOTSTRAP_SERVERS (the monitor: kafka_default)."
_RETRIED = "It is repeated; nothing is lost."
_NETWORK = "Check that the server runs, its address, and the network between."
_CA = "Check the address and the CA that this process trusts."
_MAIL = "Check the connection smtp_default."

S3 = {
    "AccessDenied": f"S3 refuses this identity. {_ROLE}",
    "AllAccessDisabled": f"AWS has closed the bucket. {_ROLE}",
    "AccessDeniedException": f"AWS refuses this identity. {_ROLE}",
    "InvalidAccessKeyId": f"AWS does not know the access key. {_KEYS}",
    "UnrecognizedClientException": f"AWS does not know the access key. {_KEYS}",
    "SignatureDoesNotMatch": f"Secret key and access key do not match, or a proxy changed the request. {_KEYS}",
    "RequestTimeTooSkewed": "This machine's clock is wrong by more than 15 minutes. Set it (NTP).",
    "RequestExpired": "This machine's clock is wrong, or the request was on its way too long. Set the clock (NTP).",
    "ExpiredToken": "The temporary credentials have ended. Renew them, or let the role give new ones.",
    "ExpiredTokenException": "The temporary credentials have ended. Renew them, or let the role give new ones.",
    "InvalidToken": f"The session token does not belong to the access key. {_KEYS}",
    "InvalidClientTokenId": f"AWS does not know the access key. {_KEYS}",
    "NoSuchBucket": "There is no such bucket. Check S3_BUCKET and AWS_ENDPOINT_URL, or deploy the stack.",
    "NoSuchKey": "There is no such object.",
    "InvalidBucketName": "No bucket can have this name. Check S3_BUCKET.",
    "SlowDown": f"S3 throttles. {_RETRIED} If it stays, write fewer and larger objects (CONSUMER_BATCH_RECORDS).",
    "ServiceUnavailable": f"S3 is overloaded. {_RETRIED}",
    "InternalError": f"A fault inside S3. {_RETRIED}",
    "RequestTimeout": f"S3 did not get the whole body in time. {_RETRIED} If it stays, check the network's speed.",
    "PermanentRedirect": "The bucket is in another region. Check AWS_DEFAULT_REGION and AWS_ENDPOINT_URL.",
    "AuthorizationHeaderMalformed": "The request was signed for another region. Check AWS_DEFAULT_REGION.",
    "IllegalLocationConstraintException": "The bucket is in another region. Check AWS_DEFAULT_REGION.",
    "redirect": "The bucket is in another region. Check AWS_DEFAULT_REGION and AWS_ENDPOINT_URL.",
    "EntityTooLarge": "The object is larger than this S3 takes. Lower CONSUMER_BATCH_BYTES.",
    "QuotaExceeded": "The store is full. Give it more room.",
    "NotImplemented": "This S3 does not know the request. Use AWS S3, or versitygw from 1.8.0.",
    "ConditionalRequestConflict": f"Another write of this key is under way. {_RETRIED}",
    "PreconditionFailed": "The object exists, or was replaced meanwhile.",
    "KMS.DisabledException": "The bucket's key is disabled. Enable it in AWS KMS.",
    "KMS.NotFoundException": "The bucket's key does not exist any more. Set another in the bucket's encryption.",
    "Throttling": f"AWS throttles. {_RETRIED}",
    "ThrottlingException": f"AWS throttles. {_RETRIED}",
    "TooManyRequestsException": f"AWS throttles. {_RETRIED}",
    "NotFound": "What was named does not exist. Check the name in the settings.",
    "NoCredentialsError": "This process has no AWS credentials. Give it a role, or a key and its secret. On a laptop "
    "take the demo's environment (set -a; . .local/demo/environment; set +a).",
    "PartialCredentialsError": "A part of the AWS credentials is missing. Set key and secret both.",
    "CredentialRetrievalError": f"The source of the AWS credentials does not answer. {_KEYS}",
    "EndpointConnectionError": f"The endpoint cannot be reached. {_NETWORK} Is AWS_ENDPOINT_URL right?",
    "ConnectTimeoutError": f"The endpoint does not answer. {_NETWORK}",
    "ReadTimeoutError": f"The answer did not come in time. {_NETWORK}",
    "ConnectionClosedError": f"The connection was closed before the answer. {_NETWORK}",
    "SSLError": f"The TLS handshake failed. {_CA}",
}

KAFKA = {
    "_TRANSPORT": f"No broker can be reached. {_BROKER}",
    "_ALL_BROKERS_DOWN": f"No broker can be reached. {_BROKER}",
    "_RESOLVE": f"A broker's host name is unknown. {_BROKER}",
    "_TIMED_OUT": f"No broker has answered in time. {_BROKER}",
    "_TIMED_OUT_QUEUE": f"No broker has answered in time. {_BROKER}",
    "_WAIT_COORD": "The group's coordinator is not known yet. It is asked again; if it stays, look at the brokers.",
    "REQUEST_TIMED_OUT": "A broker has not finished the request in time. Look at the brokers' load.",
    "_AUTHENTICATION": f"The broker refuses the login. {_LOGIN} {_IAM}",
    "SASL_AUTHENTICATION_FAILED": f"The broker refuses the login. {_LOGIN} {_IAM}",
    "UNSUPPORTED_SASL_MECHANISM": f"The broker does not offer this mechanism. {_LOGIN}",
    "_SSL": "The TLS handshake failed. Check KAFKA_SSL_CA_LOCATION, the broker's name, and KAFKA_SECURITY_PROTOCOL.",
    "TOPIC_AUTHORIZATION_FAILED": f"The Kafka user may not use this topic. {_ACL}",
    "GROUP_AUTHORIZATION_FAILED": f"The Kafka user may not use this group. {_ACL}",
    "CLUSTER_AUTHORIZATION_FAILED": f"The Kafka user may not do this on the cluster. {_ACL}",
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED": f"The Kafka user may not use this transaction. {_ACL}",
    "UNKNOWN_TOPIC_OR_PART": "There is no such topic or partition. Check KAFKA_TOPIC; create-topic creates it.",
    "_UNKNOWN_TOPIC": "There is no such topic. Check KAFKA_TOPIC; python -m include.ingest create-topic creates it.",
    "_UNKNOWN_PARTITION": "The topic has no such partition. Its partitions are numbered from 0.",
    "UNKNOWN_TOPIC_ID": "The topic was deleted, perhaps created again. See docs/troubleshooting.md.",
    "TOPIC_ALREADY_EXISTS": "The topic is there already.",
    "LEADER_NOT_AVAILABLE": "The partition has no leader now. It is asked again; if it stays, look at the brokers.",
    "NOT_LEADER_FOR_PARTITION": "The partition's leader moves. It is asked again.",
    "COORDINATOR_LOAD_IN_PROGRESS": "The group's coordinator has just started and reads its state. It is asked again.",
    "COORDINATOR_NOT_AVAILABLE": "The group has no coordinator now. If this lasts, look at the brokers.",
    "NOT_COORDINATOR": "The group's coordinator moves. It is asked again.",
    "GROUP_ID_NOT_FOUND": "Kafka does not know the group. Check KAFKA_GROUP; a consumer creates it.",
    "UNKNOWN_MEMBER_ID": "The group has gone on without this consumer. It joins again.",
    "ILLEGAL_GENERATION": "The group has gone on without this consumer. It joins again.",
    "REBALANCE_IN_PROGRESS": "The group distributes its partitions again. The request is repeated afterwards.",
    "FENCED_INSTANCE_ID": "Another process has the same CONSUMER_GROUP_INSTANCE_ID. Give each process its own.",
    "_FENCED": "Another process has taken the place of this one. End one of them.",
    "FENCED_MEMBER_EPOCH": "The group has gone on without this consumer. It joins again.",
    "UNRELEASED_INSTANCE_ID": "Another process has the same CONSUMER_GROUP_INSTANCE_ID. Give each process its own.",
    "INCONSISTENT_GROUP_PROTOCOL": "A member of the group uses another assignment strategy. Only consumers of this "
    "project belong in KAFKA_GROUP.",
    "GROUP_MAX_SIZE_REACHED": "The broker allows no more members. End some, or raise group.max.size.",
    "UNSUPPORTED_ASSIGNOR": "The broker does not offer group.remote.assignor of KAFKA_OPTIONS. Remove it.",
    "_MAX_POLL_EXCEEDED": "The consumer did not poll within max.poll.interval.ms. It joins again.",
    "OFFSET_OUT_OF_RANGE": "The log does not hold this offset. See docs/troubleshooting.md.",
    "_AUTO_OFFSET_RESET": "The log does not hold the offset at which to go on. See docs/troubleshooting.md.",
    "_LOG_TRUNCATION": "A broker has lost records (unclean leader election). See docs/troubleshooting.md.",
    "MSG_SIZE_TOO_LARGE": "The message is larger than allowed. Raise the topic's max.message.bytes.",
    "RECORD_LIST_TOO_LARGE": "The message is larger than the broker's segments. Raise segment.bytes.",
    "INVALID_RECORD": "The broker refuses this record. A compacted topic needs keys.",
    "NOT_ENOUGH_REPLICAS": "Fewer replicas are in sync than min.insync.replicas. Look at the brokers.",
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND": "Fewer replicas are in sync than min.insync.replicas. Look at the brokers.",
    "POLICY_VIOLATION": "The brokers' policy refuses this. Ask who runs them.",
    "INVALID_REPLICATION_FACTOR": "There are fewer brokers than copies. Lower --replication.",
    "UNSUPPORTED_VERSION": "The broker is too old. Use Kafka 2.8 or later, for group.protocol=consumer 4.0.",
    "_UNSUPPORTED_FEATURE": "The broker is too old. Use Kafka 2.8 or later, for group.protocol=consumer 4.0.",
    "_INVALID_ARG": "librdkafka refuses a setting. Check KAFKA_OPTIONS.",
    "_MSG_TIMED_OUT": f"No broker has acknowledged the message in time. {_BROKER}",
    "INVALID_MSG_SIZE": "The broker refuses a message of this size. Raise the topic's max.message.bytes.",
    "INVALID_TIMESTAMP": "The message's time is too far from the broker's clock. Check both clocks.",
    "FENCED_LEADER_EPOCH": "The partition's leader moves. It is asked again.",
    "UNKNOWN_LEADER_EPOCH": "The partition's leader moves. It is asked again.",
    "PRODUCER_FENCED": "Another producer has the same transactional id. Give each its own.",
    "INVALID_PRODUCER_EPOCH": "Another producer has the same transactional id. Give each its own.",
    "OUT_OF_ORDER_SEQUENCE_NUMBER": "The broker has lost messages of this producer. Start it again.",
    "NETWORK_EXCEPTION": "A broker closed the connection. It is asked again; if it stays, look at the brokers.",
    "THROTTLING_QUOTA_EXCEEDED": "The brokers' quota is used up. Raise it, or send less.",
    "TOPIC_EXCEPTION": "No topic can have this name. Check KAFKA_TOPIC.",
    "INVALID_CONFIG": "The broker refuses a setting of the topic. Its message says which.",
    "INVALID_PARTITIONS": "No topic can have this number of partitions. Check --partitions.",
    "INVALID_SESSION_TIMEOUT": "The broker does not allow this session.timeout.ms. Check KAFKA_OPTIONS.",
    "_BAD_COMPRESSION": "A record cannot be decompressed. If it stays, look at the producer.",
    "_STATE": "The client is closing or not ready for this.",
    "_QUEUE_FULL": "The producer's queue is full, since the brokers are slower. It waits.",
    "_BAD_MSG": "A broker's answer or a record is not readable. If it stays, look at the brokers' logs.",
    "INVALID_MSG": "A record's checksum is wrong on the broker. Look at the brokers' disks.",
    "KAFKA_STORAGE_ERROR": "A broker's disk fails. Look at the brokers.",
}

SYSTEM = {
    "ECONNREFUSED": f"Nothing listens there. {_NETWORK}",
    "ECONNRESET": f"The other side broke the connection. {_NETWORK}",
    "EPIPE": f"The other side broke the connection. {_NETWORK}",
    "ETIMEDOUT": f"The server does not answer. {_NETWORK}",
    "EHOSTUNREACH": f"There is no way to the server. {_NETWORK}",
    "ENETUNREACH": f"There is no way to the server. {_NETWORK}",
    "EADDRINUSE": "Another process listens on this port. Choose another port.",
    "EACCES": "This user may not. Check the rights of the file.",
    "ENOSPC": "The disk is full. Make room.",
    "EMFILE": "The process has too many open files. Raise the limit (ulimit -n).",
    "unknown host": "The host name is unknown. Check the address and DNS.",
    "certificate": f"The server's certificate is not trusted. {_CA}",
    "TLS": f"The TLS handshake failed. {_CA}",
    "no TLS": "The other side does not speak TLS. Use http:// or the port for https://.",
    "timeout": f"The answer did not come in time. {_NETWORK}",
    "TimeoutError": f"The answer did not come in time. {_NETWORK}",
    "connect timeout": f"The server does not answer. {_NETWORK}",
    "connection closed": f"The connection was closed before the answer. {_NETWORK}",
    "ConnectError": f"The server cannot be reached. {_NETWORK}",
    "ConnectTimeout": f"The server does not answer. {_NETWORK}",
    "ReadTimeout": f"The answer did not come in time. {_NETWORK}",
    "ReadError": f"The connection broke. {_NETWORK}",
    "RemoteProtocolError": f"The connection was closed before the answer. {_NETWORK}",
    "ConnectionError": f"The server cannot be reached. {_NETWORK}",
}

MAIL = {
    "SMTPAuthenticationError": f"The mail server refuses the login. {_MAIL}",
    "SMTPRecipientsRefused": "The mail server refuses every address. Check ALERT_EMAILS.",
    "SMTPSenderRefused": "The mail server refuses the sender. Check ALERT_MAIL_FROM.",
    "SMTPServerDisconnected": f"The mail server closed the connection. {_MAIL}",
    "SMTPNotSupportedError": f"The mail server does not offer this. {_MAIL}",
    "SMTPConnectError": f"The mail server refuses connections. {_MAIL}",
    "SMTPDataError": "The mail server refuses the mail. Its answer says why.",
    "SMTPHeloError": f"The mail server refuses this host. {_MAIL}",
}

AIRFLOW = {
    "AirflowNotFoundException": "Create the connection in Airflow (airflow_settings.yaml lists them).",
    "AirflowTaskTimeout": "The task ran longer than its time limit. Look at what it waited for.",
    "AirflowTaskTerminated": "The task was ended from outside. Look at the worker.",
}

BY_CODE: dict[str, str] = S3 | KAFKA | SYSTEM | MAIL | AIRFLOW

BY_STATUS: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "The server does not understand the request.",
    HTTPStatus.UNAUTHORIZED: "The key or login is missing or wrong.",
    HTTPStatus.PAYMENT_REQUIRED: "The account's plan is not paid, or does not include this.",
    HTTPStatus.FORBIDDEN: "This identity may not do it. Check key, role and policy.",
    HTTPStatus.NOT_FOUND: "There is nothing under this address. Check it.",
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: "A proxy between asks for a login. Check the proxy settings.",
    HTTPStatus.REQUEST_TIMEOUT: f"The server did not get the request in time. {_RETRIED}",
    HTTPStatus.CONFLICT: f"Another write is under way. {_RETRIED}",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The server takes no body of this size.",
    HTTPStatus.TOO_MANY_REQUESTS: "There were too many requests. Ask less often.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "A fault of the server. It is repeated.",
    HTTPStatus.BAD_GATEWAY: "A proxy does not reach the server. It is repeated.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The server is overloaded or in maintenance. It is repeated.",
    HTTPStatus.GATEWAY_TIMEOUT: "A proxy got no answer from the server in time. It is repeated.",
}
HTTP_STATUS: frozenset[int] = frozenset(HTTPStatus)
