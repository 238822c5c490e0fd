"""The patterns of the API's texts, in RE2, which Kubernetes and pydantic read alike, each with its meaning in words.

The CRD asks each as a CEL rule with these words as its message: for a `pattern` the API server shows the expression.
"""

URI_PATTERN = r"^(file|s3)://[^\x00-\x20\x7f/][^\x00-\x1f\x7f]*$|^file:///[^\x00-\x1f\x7f]*$"
"""A scheme and a place. Spaces may stand in names."""
NAME_PATTERN = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
"""A DNS label that begins with a letter: the Job, its pods and its labels carry it."""
OBJECT_NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
"""A DNS subdomain, as Kubernetes names most objects."""
QUANTITY_PATTERN = r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$"
"""A Kubernetes quantity that is not negative: 16Gi, 500m, 1.5."""
PUBLISHED_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
HUB_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$"
METRIC_PATTERN = r"^(image|text)_retrieval_recall@[1-9][0-9]{0,5}$"
RESOURCE_NAME_PATTERN = r"^[a-z0-9]([-./a-zA-Z0-9]*[a-zA-Z0-9])?$"
IMAGE_PATTERN = r"^[!-~]+$"
VARIABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
ABSOLUTE_PATTERN = r"^/"
ONE_LINE_PATTERN = r"^[^\x00-\x1f\x7f]*$"
"""No control characters: they cost six bytes each in the order, and none stands in a column or a cell that is typed."""
_PART = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
LABEL_KEY_PATTERN = rf"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?{_PART}$"
ANNOTATION_KEY_PATTERN = f"(?i){LABEL_KEY_PATTERN}"
LABEL_VALUE_PATTERN = rf"^({_PART})?$"
NAMESPACE_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

IN_WORDS = {
    URI_PATTERN: "must be a URI such as s3://bucket/folder or file:///folder",
    NAME_PATTERN: "must be lower-case letters, digits and dashes, beginning with a letter and not ending with a dash",
    OBJECT_NAME_PATTERN: "must be the name of an object: lower-case letters, digits, dashes and dots, each part between"
    " dots beginning and ending with a letter or a digit",
    QUANTITY_PATTERN: "must be a Kubernetes quantity such as 16Gi or 500m, and not negative",
    PUBLISHED_NAME_PATTERN: "must be a published name such as ViT-B-32 or laion2b_s34b_b79k: letters, digits, dots,"
    " dashes and underscores",
    HUB_NAME_PATTERN: "must be a name on the hub such as sentence-transformers/all-MiniLM-L6-v2",
    METRIC_PATTERN: "must be image_retrieval_recall@K or text_retrieval_recall@K",
    RESOURCE_NAME_PATTERN: "must be the name of a resource such as nvidia.com/gpu",
    IMAGE_PATTERN: "must be an image such as registry.example.com/finetune-trainer:1.0, without spaces",
    VARIABLE_PATTERN: "must be the name of a variable: letters, digits and underscores, not beginning with a digit",
    ABSOLUTE_PATTERN: "must be a folder of the container, beginning with /",
    LABEL_KEY_PATTERN: "must be the key of a label such as team or example.com/team, at most 63 characters after the /",
    ANNOTATION_KEY_PATTERN: "must be the key of an annotation such as example.com/ticket, at most 63 characters after"
    " the /",
    LABEL_VALUE_PATTERN: "must be at most 63 letters, digits, dashes, underscores and dots, beginning and ending with a"
    " letter or a digit",
    NAMESPACE_PATTERN: "must be lower-case letters, digits and dashes, beginning and ending with a letter or a digit",
    ONE_LINE_PATTERN: "must not hold line breaks, tabs or other control characters",
}
"""By pattern: what would match."""
