"""Kubeconfigs, as every client reads them."""

from __future__ import annotations

import base64

import yaml

from components.kubeconfig import kubeconfig


def test_it_needs_no_other_file():
    text = kubeconfig("https://10.0.0.1:6443", "CA", "km", {"certificate": "C", "key": "K"})

    config = yaml.safe_load(text)
    (cluster,), (user,), (context,) = config["clusters"], config["users"], config["contexts"]
    assert cluster["cluster"]["server"] == "https://10.0.0.1:6443"
    assert base64.b64decode(cluster["cluster"]["certificate-authority-data"]) == b"CA"
    assert base64.b64decode(user["user"]["client-certificate-data"]) == b"C"
    assert base64.b64decode(user["user"]["client-key-data"]) == b"K"
    assert context["context"] == {"cluster": cluster["name"], "user": "km"}
    assert config["current-context"] == context["name"]
