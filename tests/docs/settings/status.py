import yaml

CHECKS = {"yaml": lambda block, folder: yaml.safe_load(block.text)}
