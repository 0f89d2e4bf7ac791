"""A line of text as phones save pictures: nothing that the project installs can write one."""

from __future__ import annotations

import base64

# Made with pillow-heif.
HEIF_PICTURE = base64.b85decode(
    "0000SW^{RQXk}?*00000ZE0pPXk}?*ZE0a<0004gZDn*}000000000XXk=`10000000000aA{+700000000000000000000B57=IV*mgE07O6l"
    "0RRC200001q5uH^0000000fc%001LtX>Mi!000000RR916=`l}WdZ;I000310BCk&F#rGn01j|zbZr0t000010002~X>f9I0002qX>en20001Y"
    "Xm(>m0RwOV0058x000009`FGC{rLC*01pFT0096PKmiN^|NjGU00093kN^M!000939=ZZRVE_RDD?$MQ18@KU0|1Z!00RI30{|YN42Td}Zmvpe"
    "n}CLc0ssI505Sjo0{{XLVgLaE21EhDbHRxK000wXZ)|dIV{CW;0RRmE27mwn02FC+aAg1h000000gwOy06+i$04QT@VQ>Hd0gwOy0096106YKy"
    "009610000000RI2|NH;|00IC201$9#cxeCt0009B2nYZG02pa-ZD9Za00000009621%Uzs1%v<q1e$GRVRQfh1db>HuLM*oYk>TM(Zzo>Ik(O_"
    "p(mX(+j-;HlZIN^2tes1LY<;(y?}%r5%MaQb{MK?r9!Ektl^FVfHp`+_bu@j8?z6$UKQDkb#!_P(OaT#4<$8H62Xg##k-"
    "}sxp^DG0X#EzmL(J!zrv6`Jz!|Kfe{i9Ool3yW#hWw3?^q?dMry>)O5w9M^&0}lkfcT5NfrYFHAVE`N;4Pn;i%Yf@pn@rvTRAa8vq1Xp3{^c8t"
    "uyAv#eJFYJwD`66`P)<<T2Tg{OILf#|A`jVar5lw&J2T&sC1j_{HhpK4E55zmC{B9$l>;8($99B_>zyf-u>&Y^nom}r~7{{BbM)QDkWLkIQ*j-"
    "#?XLa5<Hjl)m=n_ikSrTzpNNyf=kGBFVw8#tapSJR8fyjIL1;3aE3-"
    "D^(;NQmkVQ7R_yX6Bxtsw1{;gE~*jya~8Mdhh%IlRMhYQLy+6I!s3SwBRM%9<C}`1JlO|8xFVVLoItE!bR(o<rg_EqV6}GA1Ox!TH|%n8pJUn="
    "*H-#g)WYAI7IS@?57reoXW=O=4K%(D9oP(1}H`(DBOFWk103)!8)(mQjv}_&AN?g0);I(=Kn$8PZm|TM*&zCz7f39sgWF>j8ry2-"
    "b63pv!9O1!~51kgk-RaNyXaR{)at3kXv|ryf$XwPOi!75BwszUpv`%KSh@Fop&-"
    "U=MZcfon)mmAx&`Rv|!gA@xe>yX01gagam*JsuoO%IM6c$alO+UXv~Rj?A4Dy6ZHrcY>n&b}vSveF@&JSgsnXa2(7#%zJ6S7$t~&CT+2RNa5A9"
    "6I&bWbEibG)5+!u8-T@C;8qkx04^i>Z3kMljxf4{`NYF%`;64)tVIU{EpB<nHxC;u%GPR|c*0IRtg6_ROD!-"
    "&bZ_c#mJ&Y|<kosW*KVkFI8kYyPl>%Hx>y1a#Yfn~dHm{@aJE9cq9zMTgJ@q$AOv*MgI|duOQOy&&-"
    "#$CPC+ccNepq2MqiX5b)1)^{ABIYi6;&a3@%YixT$Zxjc`v%kX%Wj9U`$j%B}T`uM8U9;a9Pu^0>;uuMF7iE8qv@fAc{!i9fu#P{3fzC-"
    "V=VO=4nWWn9aNm=dR6Ki$%icakb*WcDeSk|9al!Hk58&N#Y>4VvaFk*Q3Wcnl|p>5Y!KC?Z_Kimd>8Cnn!!lTL-?QF5kdhXYa?H>VeOpK-"
    "7R^>;T0=n?3xnyUM#EAG?%_JO8tb{q-"
    "D4w@Gs2hbo{Te>gb=z>aDBHLPyL(Y@hV)UfHYa1V8d~qxx4NE@G@}Ur6{aE`JNov}K(dP%t0F<cDNxj~2j%VUECpEqRUI0b1p2i8S?SEcpQEdH"
    "I&*jo7A&|(nr?;PqRJHHmJn}QdUbB1HSJ#Ix{{>77Ey<Ht^}G!@9D@@b;(b9!r3F$4%0qQ8)z<ahkuG^Df0w&m`DpyolJ0r)sFP-"
    "kd(lqt^HAP8w`X4kHyoEo>FzJbPH6TC4Ti)`6Aj$GgczYSj9*A!=oq-{XolwsiS24(0B`{("
)
HEIF_TEXT = "The invoice of the plumber"
