from fpn_necks.doctor import Finding, format_findings


def test_format() -> None:
    findings = [
        Finding("ok", "torch", "2.11.0"),
        Finding("fault", "torchvision", "does not run", "install it anew"),
        Finding("warning", "GPU", "x" * 1000, "update"),
    ]
    lines = format_findings(findings).splitlines()
    assert lines[2].split() == ["ok", "torch", "2.11.0"]
    assert lines[4].strip() == "remedy: install it anew"
    assert "--json has the rest" in lines[5]
    assert lines[-1] == "1 fault, 1 warning"
