"""What the examples may say, as JSON Schema: the fields that they use of Kubernetes' API and of the compose
specification, with their types, and nothing else. A field misspelt, at the wrong depth or of the wrong
type is refused, as a server's strict validation would."""

TEXT, FLAG, COUNT = {"type": "string", "minLength": 1}, {"type": "boolean"}, {"type": "integer", "minimum": 0}
PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
NAME = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"}
PATH = {"type": "string", "pattern": "^/"}
# No registry's host: a placeholder, for whoever applies it.
IMAGE = {"type": "string", "pattern": r"^\$\{[A-Z_]+_IMAGE(:\?[^}]+)?\}$"}
QUANTITY = {"type": "string", "pattern": "^[0-9]+(m|Ki|Mi|Gi)?$"}
LABELS = {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1}


def fields(required=(), **properties):
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def some(items):
    return {"type": "array", "items": items, "minItems": 1}


RESOURCES = fields(requests=fields(cpu=QUANTITY, memory=QUANTITY), limits=fields(cpu=QUANTITY, memory=QUANTITY))
CONTAINER_SECURITY = fields(
    runAsUser=COUNT, runAsNonRoot=FLAG, allowPrivilegeEscalation=FLAG, readOnlyRootFilesystem=FLAG,
    capabilities=fields(drop=some(TEXT), add=some(TEXT)))
CONTAINER = fields(
    ("name", "image", "resources", "securityContext"), name=NAME, image=IMAGE, command=some(TEXT), args=some(TEXT),
    env=some(fields(("name", "value"), name={"type": "string", "pattern": "^[A-Z_]+$"}, value=TEXT)),
    ports=some(fields(("containerPort",), name={**NAME, "maxLength": 15}, containerPort=PORT)), resources=RESOURCES,
    securityContext=CONTAINER_SECURITY,
    volumeMounts=some(fields(("name", "mountPath"), name=NAME, mountPath=PATH, readOnly=FLAG)))
VOLUME = {"oneOf": [
    fields(("name", "emptyDir"), name=NAME, emptyDir=fields(sizeLimit=QUANTITY)),
    fields(("name", "hostPath"), name=NAME, hostPath=fields(
        ("path",), path=PATH, type={"enum": ["", "Directory", "DirectoryOrCreate", "File", "Socket"]}))]}
POD = fields(
    ("containers",), initContainers=some(CONTAINER), containers=some(CONTAINER), volumes=some(VOLUME),
    securityContext=fields(runAsNonRoot=FLAG, runAsUser=COUNT,
                           seccompProfile=fields(("type",), type={"enum": ["RuntimeDefault", "Unconfined"]})))
WORKLOAD = fields(
    ("selector", "template"), replicas=COUNT, selector=fields(("matchLabels",), matchLabels=LABELS),
    template=fields(("metadata", "spec"), metadata=fields(("labels",), labels=LABELS, annotations=LABELS), spec=POD))
KUBERNETES = fields(
    ("apiVersion", "kind", "metadata", "spec"), apiVersion={"const": "apps/v1"},
    kind={"enum": ["Deployment", "DaemonSet"]}, metadata=fields(("name",), name=NAME, labels=LABELS), spec=WORKLOAD)

COMPOSE = fields(
    ("services",),
    services={"type": "object", "minProperties": 1, "additionalProperties": fields(
        ("image",), image=IMAGE, environment={"type": "object", "additionalProperties": TEXT},
        mem_limit={"type": "string", "pattern": "^[0-9]+[kmg]$"}, user=TEXT, entrypoint=some(TEXT), command=some(TEXT),
        volumes=some({"type": "string", "pattern": "^[a-z-]+:/[^:]*(:ro)?$"}),
        ports=some({"type": "string", "pattern": r"^127\.0\.0\.1:[0-9]+:[0-9]+$"}),
        depends_on={"type": "object", "additionalProperties": fields(
            ("condition",), condition={"enum": ["service_started", "service_completed_successfully"]})})},
    volumes={"type": "object", "additionalProperties": {"type": "object", "maxProperties": 0}})
