# SPDX-License-Identifier: Apache-2.0
"""Only what pyproject.toml cannot say: a wheel with the program in it is for one platform, and for every Python."""
import os

from setuptools import setup

NATIVE = os.path.isdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "bvisor", "_native"))
options = {}
if NATIVE:
    from setuptools.dist import Distribution
    from wheel.bdist_wheel import bdist_wheel

    class Wheel(bdist_wheel):
        def get_tag(self):
            return ("py3", "none", super().get_tag()[2])

    class Platform(Distribution):
        def has_ext_modules(self):
            return True

    options = {"cmdclass": {"bdist_wheel": Wheel}, "distclass": Platform}
setup(**options)
