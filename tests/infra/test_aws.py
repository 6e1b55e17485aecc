"""The CloudFormation template: linted, and its policy asked what it would answer to the calls that the code makes."""

import ast
import fnmatch
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra.files import INFRA, REPOSITORY, kubernetes_settings

TEMPLATE = INFRA / "aws" / "lake.yaml"
BUCKET, PREFIX, LOGS = "laion-lakehouse-111122223333", "lake", "dagster-logs"
VALUES = {
    "Bucket": BUCKET,
    "Bucket.Arn": f"arn:aws:s3:::{BUCKET}",
    "Prefix": PREFIX,
    "LogsPrefix": LOGS,
    "AWS::Partition": "aws",
    "AWS::AccountId": "111122223333",
    "ClusterOidcIssuer": "oidc.eks.us-east-1.amazonaws.com/id/0123",
    "Namespace": "laion",
    "ServiceAccount": "laion",
}


class _Template(yaml.SafeLoader):
    """YAML with CloudFormation's short functions carried out on `VALUES`."""


def _substituted(_: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    text = node.value
    for name, value in VALUES.items():
        text = text.replace(f"${{{name}}}", value)
    return text


_Template.add_constructor("!Sub", _substituted)
_Template.add_constructor("!Ref", lambda _, node: VALUES.get(node.value, node.value))
_Template.add_constructor("!GetAtt", lambda _, node: VALUES.get(node.value, node.value))


def resources() -> Mapping[str, Any]:
    """The template's resources, for the account of the example."""
    return yaml.load(TEMPLATE.read_text(), _Template)["Resources"]


def lint(path: Path) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name("cfn-lint"))
    return subprocess.run(
        [program, "--include-checks", "I", "--", str(path)], capture_output=True, text=True, check=False
    )


def test_the_template_is_what_cloudformation_takes() -> None:
    ran = lint(TEMPLATE)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_wrong_template_is_found(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(TEMPLATE.read_text().replace("BlockPublicAcls", "BlockPublicAcl"))
    assert "BlockPublicAcl" in lint(wrong).stdout


# -- the policy -------------------------------------------------------------------------------------------------------


def statements() -> list[Mapping[str, Any]]:
    (policy,) = resources()["Role"]["Properties"]["Policies"]
    return list(policy["PolicyDocument"]["Statement"])


def is_allowed(action: str, resource: str, context: Mapping[str, str]) -> bool:
    """What IAM would say, of the parts of its language that the policy uses; of any other part it raises."""
    return any(
        statement["Effect"] == "Allow"
        and any(fnmatch.fnmatchcase(action, wanted) for wanted in _list(statement["Action"]))
        and any(fnmatch.fnmatchcase(resource, wanted) for wanted in _list(statement["Resource"]))
        and all(_holds(operator, wanted, context) for operator, wanted in statement.get("Condition", {}).items())
        for statement in statements()
    )


def _holds(operator: str, wanted: Mapping[str, Any], context: Mapping[str, str]) -> bool:
    assert operator == "StringLikeIfExists", f"an operator this test does not know: {operator}"
    return all(
        key not in context or any(fnmatch.fnmatchcase(context[key], pattern) for pattern in _list(patterns))
        for key, patterns in wanted.items()
    )


def _list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


CALLS = {
    "get_object": "s3:GetObject",
    "head_object": "s3:GetObject",
    "download_file": "s3:GetObject",
    "put_object": "s3:PutObject",
    "upload_file": "s3:PutObject",
    "delete_object": "s3:DeleteObject",
    "delete_objects": "s3:DeleteObject",
    "list_objects_v2": "s3:ListBucket",
}
"""The permission that each method of boto3's S3 client asks for."""

DELTA = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
"""What delta-rs and DuckDB ask of an object: reading, writing also in parts, vacuum, and giving an upload up."""


def s3_methods_called() -> set[str]:
    """The methods of boto3's S3 client that are called, or paged through, anywhere in the package."""
    import boto3

    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    known = {name for name in dir(client) if not name.startswith("_")} - {"close", "exceptions", "meta", "can_paginate"}
    modules = [path for path in (REPOSITORY / "laion_assets").rglob("*.py") if "boto" in path.read_text()]
    assert modules
    return {name for path in modules for name in _names(ast.parse(path.read_text())) if name in known} - {
        "get_paginator"
    }


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func.attr
            if node.func.attr == "get_paginator" and isinstance(node.args[0], ast.Constant):
                yield str(node.args[0].value)


def test_every_call_that_the_code_makes_is_allowed_in_the_lake() -> None:
    called = s3_methods_called()
    assert called >= {"get_object"}
    unknown = called - set(CALLS)
    assert unknown == set(), "say in CALLS which permission these need, and allow it in the template"
    for action in {CALLS[name] for name in called} | set(DELTA) | {"s3:ListBucket"}:
        if action == "s3:ListBucket":
            assert is_allowed(action, f"arn:aws:s3:::{BUCKET}", {"s3:prefix": f"{PREFIX}/images/"})
        else:
            assert is_allowed(action, f"arn:aws:s3:::{BUCKET}/{PREFIX}/images/_delta_log/0.json", {}), action


def test_an_absent_object_is_told_from_a_forbidden_one() -> None:
    """S3 answers 404 only to those who may list, and asks for that without a prefix."""
    assert is_allowed("s3:ListBucket", f"arn:aws:s3:::{BUCKET}", {})


def test_common_crawl_is_read_and_nothing_else_is_done_there() -> None:
    assert is_allowed("s3:GetObject", "arn:aws:s3:::commoncrawl/collinfo.json", {})
    for action in ("s3:PutObject", "s3:DeleteObject"):
        assert not is_allowed(action, "arn:aws:s3:::commoncrawl/x", {})


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        ("s3:GetObject", f"arn:aws:s3:::{BUCKET}/other/secret", {}),
        ("s3:GetObject", f"arn:aws:s3:::{BUCKET}/{PREFIX}-of-others/x", {}),
        ("s3:PutObject", f"arn:aws:s3:::{BUCKET}-2/{PREFIX}/x", {}),
        ("s3:ListBucket", f"arn:aws:s3:::{BUCKET}", {"s3:prefix": ""}),
        ("s3:ListBucket", f"arn:aws:s3:::{BUCKET}", {"s3:prefix": "other/"}),
        ("s3:ListBucket", "arn:aws:s3:::commoncrawl", {}),
        ("s3:DeleteBucket", f"arn:aws:s3:::{BUCKET}", {}),
        ("s3:DeleteObjectVersion", f"arn:aws:s3:::{BUCKET}/{PREFIX}/x", {}),
        ("s3:PutBucketPolicy", f"arn:aws:s3:::{BUCKET}", {}),
        ("s3:PutLifecycleConfiguration", f"arn:aws:s3:::{BUCKET}", {}),
        ("s3:PutObjectAcl", f"arn:aws:s3:::{BUCKET}/{PREFIX}/x", {}),
        ("iam:PassRole", "*", {}),
        ("sts:AssumeRole", "*", {}),
    ],
)
def test_what_nobody_needs_is_refused(action: str, resource: str, context: dict[str, str]) -> None:
    assert not is_allowed(action, resource, context)


def test_only_the_service_account_of_the_cluster_takes_the_role() -> None:
    trust = json.loads(resources()["Role"]["Properties"]["AssumeRolePolicyDocument"])
    (statement,) = trust["Statement"]
    issuer = VALUES["ClusterOidcIssuer"]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Principal"] == {"Federated": f"arn:aws:iam::111122223333:oidc-provider/{issuer}"}
    assert statement["Condition"] == {
        "StringEquals": {f"{issuer}:aud": "sts.amazonaws.com", f"{issuer}:sub": "system:serviceaccount:laion:laion"}
    }


# -- the bucket -------------------------------------------------------------------------------------------------------


def test_the_bucket_is_closed_encrypted_and_outlives_its_stack() -> None:
    bucket = resources()["Bucket"]
    assert bucket["DeletionPolicy"] == bucket["UpdateReplacePolicy"] == "Retain"
    assert set(bucket["Properties"]["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["Properties"]["BucketEncryption"]
    (deny,) = resources()["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert (deny["Effect"], deny["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_what_was_deleted_goes_and_nothing_that_a_table_names_does() -> None:
    rules = {rule["Id"]: rule for rule in resources()["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]}
    assert rules["deleted-and-replaced"]["NoncurrentVersionExpiration"]
    assert rules["unfinished-uploads"]["AbortIncompleteMultipartUpload"]
    expiring = [rule for rule in rules.values() if "ExpirationInDays" in rule]
    assert [rule["Prefix"] for rule in expiring] == [f"{LOGS}/"], "nothing of the lake expires by itself"
    assert rules["cold-pictures"]["Prefix"] == f"{PREFIX}/files/images/"


def test_settings_name_this_bucket() -> None:
    assert kubernetes_settings()["LAION_LAKE"] == f"s3://{BUCKET}/{PREFIX}"
